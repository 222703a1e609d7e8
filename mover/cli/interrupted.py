"""`capi-mover status`, `resume` and `rollback`: what becomes of a move that was interrupted."""

from __future__ import annotations

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
from mover.cli.telling import Telling
from mover.cli.terminal import errors_shown, new_console, print_all, print_json, run
from mover.names import RECORDS_NAMESPACE


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
    records_namespace: RecordsNamespace = RECORDS_NAMESPACE,
    verbosity: Verbosity = 0,
    output: ToldAs = OutputFormat.TEXT,
    log_format: LogAs = LogFormat.TEXT,
    metrics_file: MetricsFile = None,
    report: ReportFile = None,
) -> None:
    """Finishes a move that was interrupted, from the record it left in the clusters.

    Example: capi-mover resume --to-kubeconfig=target-kubeconfig.yaml -n metal3
    """
    telling = Telling(verbosity, output=output, log_format=log_format, metrics_file=metrics_file, report_file=report)
    with telling.begun() as teller:
        from mover import api
        from mover.report import summary

        source = api.ClusterRef(kubeconfig, kubeconfig_context, records_namespace=records_namespace)
        target = api.ClusterRef(to_kubeconfig, to_kubeconfig_context, records_namespace=records_namespace)
        with teller.watching() as listener:
            scope = "" if all_namespaces else namespace
            done = run(api.resume_async(source, target, scope, listener, clusters=cluster or ()))
        teller.report(done, summary(done))


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
