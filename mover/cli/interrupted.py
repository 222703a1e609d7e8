"""`capi-mover status`, `resume` and `rollback`: what becomes of a move that was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mover.cli.app import app
from mover.cli.options import (
    AllNamespaces,
    ClusterNames,
    Kubeconfig,
    KubeconfigContext,
    LogAs,
    LogFormat,
    MetricsFile,
    Namespace,
    Output,
    OutputFormat,
    RecordsNamespace,
    ReportFile,
    ToKubeconfig,
    ToKubeconfigContext,
    ToldAs,
    Verbosity,
)
from mover.cli.telling import Teller, Telling
from mover.cli.terminal import errors_shown, fail, is_interactive, new_console, print_all, print_json, run
from mover.names import RECORDS_NAMESPACE

if TYPE_CHECKING:
    from mover.api import ClusterRef
    from mover.record import Record


@app.command()
def status(
    kubeconfig: Kubeconfig = None,
    kubeconfig_context: KubeconfigContext = None,
    records_namespace: RecordsNamespace = RECORDS_NAMESPACE,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Shows which moves a cluster takes part in, their phase, since when, and the next command.

    Example: capi-mover status --kubeconfig=bootstrap.kubeconfig
    """
    console = new_console()
    with errors_shown():
        from mover import api
        from mover.report import status_json, status_lines

        cluster = api.ClusterRef(kubeconfig, kubeconfig_context, records_namespace=records_namespace)
        found = run(api.status_async(cluster))
        if output is OutputFormat.JSON:
            print_json(status_json(found))
        else:
            print_all(console, status_lines(found))


@app.command()
def resume(
    kubeconfig: Kubeconfig = None,
    kubeconfig_context: KubeconfigContext = None,
    to_kubeconfig: ToKubeconfig = None,
    to_kubeconfig_context: ToKubeconfigContext = None,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    cluster: ClusterNames = None,
    source_gone: Annotated[
        bool,
        typer.Option(
            "--source-gone",
            help="The source is gone for good, after the commit: resume the target alone, if all copies are there.",
        ),
    ] = False,
    confirm_source_gone: Annotated[
        str,
        typer.Option(
            metavar="CONTEXT",
            help="With --source-gone, instead of typing it: the context of the source, which is off and stays off.",
        ),
    ] = "",
    records_namespace: RecordsNamespace = RECORDS_NAMESPACE,
    verbosity: Verbosity = 0,
    output: ToldAs = OutputFormat.TEXT,
    log_format: LogAs = LogFormat.TEXT,
    metrics_file: MetricsFile = None,
    report: ReportFile = None,
) -> None:
    """Finishes a move that was interrupted, from the record it left in the clusters.

    Example: capi-mover resume --to-kubeconfig=target-kubeconfig.yaml -n metal3

    Example: capi-mover resume --source-gone --to-kubeconfig=target-kubeconfig.yaml -n metal3
    """
    telling = Telling(verbosity, output=output, log_format=log_format, metrics_file=metrics_file, report_file=report)
    with telling.begun() as teller:
        from mover import api
        from mover.report import summary

        source = api.ClusterRef(kubeconfig, kubeconfig_context, records_namespace=records_namespace)
        target = api.ClusterRef(to_kubeconfig, to_kubeconfig_context, records_namespace=records_namespace)
        if source_gone:
            _require_no_source(kubeconfig, kubeconfig_context)
            space = _space_of(namespace, all_namespaces=all_namespaces)
            _resume_source_gone(teller, target, space, cluster or [], confirm_source_gone)
            return
        if confirm_source_gone:
            fail("--confirm-source-gone goes with --source-gone alone", exit_code=2)
        with teller.watching() as listener:
            scope = "" if all_namespaces else namespace
            done = run(api.resume_async(source, target, scope, listener, clusters=cluster or ()))
        teller.report(done, summary(done))


def _resume_source_gone(teller: Teller, target: ClusterRef, space: str, clusters: list[str], confirmed: str) -> None:
    from mover import api

    record = run(api.find_resumable_async(target, space, clusters))
    confirmed = confirmed or _typed_source(record)
    with teller.watching() as listener:
        done = run(api.resume_source_gone_async(target, confirmed, space, listener, clusters=clusters))
    what = f"The target {done.target} works on its own: {done.verified} copies"
    later = f"A note stays there. If {done.source} ever comes back, nothing but capi-mover retire may touch it."
    teller.report(done, [f"{what} are there as recorded, and resumed.", later])


def _typed_source(record: Record) -> str:
    """Returns the context of the source as somebody types it who knows that it is gone for good."""
    from mover.execute.given_up import source_name
    from mover.scope import described

    if not is_interactive():
        fail(
            "Nobody can be asked here: confirm with --confirm-source-gone CONTEXT that the source is gone", exit_code=2
        )
    text = (
        f"The move {record.id} of {described(record.scope)} is past its commit, and all its copies are on the target.\n"
        f"Its source was {source_name(record)}. If it is still at work anywhere, both would work on one fleet.\n"
        "Type the context of the source to confirm that it is off, and stays off"
    )
    return str(typer.prompt(text, err=True))


def _require_no_source(kubeconfig: Path | None, context: str | None) -> None:
    if kubeconfig is not None or context is not None:
        fail("The source is not asked: please leave out --kubeconfig and --kubeconfig-context", exit_code=2)


def _space_of(namespace: str | None, *, all_namespaces: bool) -> str:
    """Returns the namespace that is named, "" for all: without the source there is no context to ask for one."""
    if not namespace and not all_namespaces:
        fail("Please name what was moved with --namespace or --all-namespaces", exit_code=2)
    return "" if all_namespaces else str(namespace)


@app.command()
def retire(
    kubeconfig: Kubeconfig = None,
    kubeconfig_context: KubeconfigContext = None,
    to_kubeconfig: ToKubeconfig = None,
    to_kubeconfig_context: ToKubeconfigContext = None,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    cluster: ClusterNames = None,
    source_destroyed: Annotated[
        bool,
        typer.Option(
            "--source-destroyed",
            help="The source can never come back: only the note about it is removed from the target.",
        ),
    ] = False,
    records_namespace: RecordsNamespace = RECORDS_NAMESPACE,
    verbosity: Verbosity = 0,
    output: ToldAs = OutputFormat.TEXT,
    log_format: LogAs = LogFormat.TEXT,
    metrics_file: MetricsFile = None,
) -> None:
    """Deals with a source that was given up (resume --source-gone) and has come back.

    What the move would have deleted is deleted from it, each object only if its copy is on the target; then its record
    goes, and the note on the target.

    Example: capi-mover retire --to-kubeconfig=target-kubeconfig.yaml -n metal3
    """
    with Telling(verbosity, output=output, log_format=log_format, metrics_file=metrics_file).begun() as teller:
        from mover import api

        source = api.ClusterRef(kubeconfig, kubeconfig_context, records_namespace=records_namespace)
        target = api.ClusterRef(to_kubeconfig, to_kubeconfig_context, records_namespace=records_namespace)
        if source_destroyed:
            _require_no_source(kubeconfig, kubeconfig_context)
            space = _space_of(namespace, all_namespaces=all_namespaces)
            with teller.watching() as listener:
                done = run(api.retire_destroyed_async(target, space, listener, clusters=cluster or ()))
            teller.report(done, [])
            return
        with teller.watching() as listener:
            scope = "" if all_namespaces else namespace
            done = run(api.retire_async(source, target, scope, listener, clusters=cluster or ()))
        teller.report(
            done, [f"{done.removed} originals were left on {done.source}, and are deleted; the note is gone."]
        )


@app.command()
def rollback(
    kubeconfig: Kubeconfig = None,
    kubeconfig_context: KubeconfigContext = None,
    to_kubeconfig: ToKubeconfig = None,
    to_kubeconfig_context: ToKubeconfigContext = None,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    cluster: ClusterNames = None,
    records_namespace: RecordsNamespace = RECORDS_NAMESPACE,
    verbosity: Verbosity = 0,
    output: ToldAs = OutputFormat.TEXT,
    log_format: LogAs = LogFormat.TEXT,
    metrics_file: MetricsFile = None,
) -> None:
    """Undoes a move that was interrupted before it deleted anything.

    The copies leave the target, and the source is exactly as it was. Once originals may be gone, only forward is safe,
    and this is refused.

    Example: capi-mover rollback --to-kubeconfig=target-kubeconfig.yaml -n metal3
    """
    with Telling(verbosity, output=output, log_format=log_format, metrics_file=metrics_file).begun() as teller:
        from mover import api

        source = api.ClusterRef(kubeconfig, kubeconfig_context, records_namespace=records_namespace)
        target = api.ClusterRef(to_kubeconfig, to_kubeconfig_context, records_namespace=records_namespace)
        with teller.watching() as listener:
            scope = "" if all_namespaces else namespace
            report = run(api.rollback_async(source, target, scope, listener, clusters=cluster or ()))
        teller.report(report, [])
