"""`capi-mover rbac`: the least rights that a move can do with."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mover.cli.app import app
from mover.cli.options import Kubeconfig, KubeconfigContext, RecordsNamespace
from mover.cli.terminal import errors_shown, fail, print_text, run
from mover.names import RECORDS_NAMESPACE

if TYPE_CHECKING:
    from mover.api import ClusterRef
    from mover.permissions import Side
    from mover.rbac import Move, Subject


class Sides(StrEnum):
    """Of which clusters the manifests are printed."""

    SOURCE = "source"
    TARGET = "target"
    BOTH = "both"


@app.command()
def rbac(
    side: Annotated[Sides, typer.Option(help="The cluster that the manifests are for.")] = Sides.BOTH,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Namespace that is moved; default: all namespaces.")
    ] = "",
    to_namespace: Annotated[str | None, typer.Option(help="Namespace on the target, if it is another one.")] = None,
    service_account: Annotated[
        str | None, typer.Option(help="Grant to this ServiceAccount.", metavar="NAMESPACE/NAME")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Grant to this user.", metavar="NAME")] = None,
    kubeconfig: Kubeconfig = None,
    kubeconfig_context: KubeconfigContext = None,
    records_namespace: RecordsNamespace = RECORDS_NAMESPACE,
) -> None:
    """Prints the Roles and bindings that a user or ServiceAccount needs for a move, a resume and a rollback.

    With --kubeconfig or --kubeconfig-context they are for the types of that source cluster, otherwise for those of
    Cluster API, its kubeadm providers and Metal3.

    Example: capi-mover rbac --side target -n metal3 --service-account capi-mover/mover | kubectl apply -f -
    """
    subject = _subject(service_account, user)
    with errors_shown():
        from mover.api import ClusterRef

        given = kubeconfig is not None or kubeconfig_context is not None
        found = _move(ClusterRef(kubeconfig, kubeconfig_context) if given else None, namespace, to_namespace)
        move = replace(found, records_namespace=records_namespace)
        sides: tuple[Side, ...] = ("source", "target")
        print_text("---\n".join(_printed(move, one, subject) for one in sides if side in (Sides.BOTH, one)).rstrip())


def _move(source: ClusterRef | None, namespace: str, to_namespace: str | None) -> Move:
    from mover import api
    from mover.known_types import CREDENTIAL_NAMESPACE, known_types
    from mover.rbac import Move

    if source is None:
        return Move(known_types(), namespace, to_namespace, (CREDENTIAL_NAMESPACE,))
    types, credentials = run(api.types_async(source))
    return Move(types, namespace, to_namespace, credentials)


def _printed(move: Move, side: Side, subject: Subject) -> str:
    import yaml

    from mover.rbac import side_manifests

    what = f"the namespace {move.namespace}" if move.namespace else "all namespaces"
    documents = yaml.safe_dump_all(side_manifests(move, side, subject), sort_keys=False)
    return f"# What capi-mover may be asked to do on the {side} of a move of {what}.\n{documents}"


def _subject(service_account: str | None, user: str | None) -> Subject:
    from mover.rbac import Subject

    if (service_account is None) == (user is None):
        fail("Please specify either --service-account NAMESPACE/NAME or --user NAME", exit_code=2)
    if user is not None:
        return Subject(user)
    namespace, _, name = (service_account or "").partition("/")
    if not namespace or not name or "/" in name:
        fail(f"--service-account: {service_account} is not NAMESPACE/NAME", exit_code=2)
    return Subject(name, namespace)
