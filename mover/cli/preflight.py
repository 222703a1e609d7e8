"""`capi-mover preflight`: all that stands against a move, at once; nothing is changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mover.choices import PausedPolicy
from mover.cli.app import app
from mover.cli.logs import set_up_logging
from mover.cli.move import existing_policy
from mover.cli.options import (
    AllHosts,
    AllNamespaces,
    ClusterNames,
    HiddenWarnings,
    Hosts,
    IncludeReferenced,
    Kubeconfig,
    KubeconfigContext,
    Namespace,
    Output,
    OutputFormat,
    RecordsNamespace,
    Selector,
    Skip,
    StrictLabels,
    ToKubeconfig,
    ToKubeconfigContext,
    Verbosity,
    WarnOnly,
)
from mover.cli.terminal import REFUSED, errors_shown, fail, new_console, print_all, print_json, run
from mover.names import RECORDS_NAMESPACE

if TYPE_CHECKING:
    from mover.api import ClusterRef
    from mover.models import MoveOptions
    from mover.preflight_report import Told


@app.command()
def preflight(
    kubeconfig: Kubeconfig = None,
    kubeconfig_context: KubeconfigContext = None,
    to_kubeconfig: ToKubeconfig = None,
    to_kubeconfig_context: ToKubeconfigContext = None,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    cluster: ClusterNames = None,
    selector: Selector = "",
    hosts: Hosts = "",
    all_hosts: AllHosts = False,
    plan: Annotated[Path | None, typer.Option(help="Check a move by this saved plan.")] = None,
    paused: Annotated[PausedPolicy, typer.Option(help="As for move.")] = PausedPolicy.REFUSE,
    adopt: Annotated[bool, typer.Option("--adopt", help="As for move.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="As for move.")] = False,
    to_namespace: Annotated[str | None, typer.Option(help="Namespace on the target.")] = None,
    leave_behind: Annotated[bool, typer.Option("--leave-behind", help="As for move.")] = False,
    strict_labels: StrictLabels = False,
    skip: Skip = None,
    warn_only: WarnOnly = False,
    include_referenced: IncludeReferenced = False,
    records_namespace: RecordsNamespace = RECORDS_NAMESPACE,
    output: Output = OutputFormat.TEXT,
    verbosity: Verbosity = 0,
) -> None:
    """Checks everything that a move needs and lists all problems at once; changes nothing.

    Exit code 0 if the move can begin, 3 if it would be refused.

    Example: capi-mover preflight --to-kubeconfig target.kubeconfig -n metal3

    Example: capi-mover preflight --to-kubeconfig target.kubeconfig -n metal3 --skip rollout -o json
    """
    if not (to_kubeconfig or to_kubeconfig_context):
        fail("Please specify a target cluster using the --to-kubeconfig flag", exit_code=2)
    existing = existing_policy(adopt=adopt, overwrite=overwrite)
    set_up_logging(verbosity, HiddenWarnings.DEFAULT)
    with errors_shown():
        from mover import api
        from mover.models import MoveOptions

        options = MoveOptions(
            namespace="" if all_namespaces else namespace or None,
            clusters=tuple(cluster or ()),
            selector=selector,
            hosts=hosts,
            all_hosts=all_hosts,
            paused=paused,
            existing=existing,
            to_namespace=to_namespace,
            leave_behind=leave_behind,
            strict_labels=strict_labels,
            skip=tuple(skip or ()),
            warn_only=warn_only,
            include_referenced=include_referenced,
        )
        source = api.ClusterRef(kubeconfig, kubeconfig_context, records_namespace=records_namespace)
        target = api.ClusterRef(to_kubeconfig, to_kubeconfig_context, records_namespace=records_namespace)
        _show(run(_found(source, target, options, plan)), output)


async def _found(source: ClusterRef, target: ClusterRef, options: MoveOptions, plan: Path | None) -> Told:
    """Returns what was found; that nothing more could be found out is a finding, too."""
    from mover import api
    from mover.errors import RefusedError
    from mover.preflight_report import Told

    try:
        return Told.of(await api.preflight_async(source, target, options, plan_file=plan))
    except RefusedError as error:
        return Told(error.problems)


def _show(told: Told, output: OutputFormat) -> None:
    from mover.preflight_report import lines, report_json

    if output is OutputFormat.JSON:
        print_json(report_json(told))
    else:
        print_all(new_console(), lines(told))
    if told.problems:
        raise typer.Exit(REFUSED)
