"""`capi-mover pivot`: a cluster's objects into the cluster itself, or back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mover.cli.app import app
from mover.cli.options import (
    DryRunFlag,
    Kubeconfig,
    KubeconfigContext,
    LogAs,
    LogFormat,
    MetricsFile,
    Namespace,
    OutputFormat,
    RecordsNamespace,
    ToKubeconfig,
    ToKubeconfigContext,
    ToldAs,
    Verbosity,
)
from mover.cli.telling import Telling
from mover.cli.terminal import REFUSED, fail, run
from mover.names import RECORDS_NAMESPACE
from mover.pivot.choices import IRONIC_OPERATOR_PLACE, OPERATOR_PLACE, Step

if TYPE_CHECKING:
    from mover.pivot.models import PivotOptions


@app.command()
def pivot(
    kubeconfig: Kubeconfig = None,
    kubeconfig_context: KubeconfigContext = None,
    to_kubeconfig: ToKubeconfig = None,
    to_kubeconfig_context: ToKubeconfigContext = None,
    namespace: Namespace = None,
    back: Annotated[bool, typer.Option("--back", help="The way back, out of the cluster that manages itself.")] = False,
    cluster: Annotated[str, typer.Option(help="Cluster that becomes the target; default: the only one.")] = "",
    ironic: Annotated[
        list[str] | None, typer.Option(help="What runs Ironic: NAMESPACE/NAME; may be repeated.", metavar="PLACE")
    ] = None,
    operator: Annotated[
        str, typer.Option(help="The baremetal-operator: NAMESPACE/NAME.", metavar="PLACE")
    ] = OPERATOR_PLACE,
    ironic_operator: Annotated[
        str, typer.Option(help="The ironic-standalone-operator: NAMESPACE/NAME.", metavar="PLACE")
    ] = IRONIC_OPERATOR_PLACE,
    skip: Annotated[list[Step] | None, typer.Option(help="Leave a step out; may be repeated.")] = None,
    leave_hosts: Annotated[
        bool, typer.Option("--leave-hosts", help="Hosts of other namespaces stay without Ironic and their operator.")
    ] = False,
    stable: Annotated[float, typer.Option(min=0, help="Seconds the API servers must have been ready.")] = 5.0,
    step_timeout: Annotated[float, typer.Option(min=1, help="Seconds that each wait may take.")] = 600.0,
    wait_hosts: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for hosts that are about to change; default: refuse.")
    ] = 0.0,
    dry_run: DryRunFlag = False,
    records_namespace: RecordsNamespace = RECORDS_NAMESPACE,
    verbosity: Verbosity = 0,
    output: ToldAs = OutputFormat.TEXT,
    log_format: LogAs = LogFormat.TEXT,
    metrics_file: MetricsFile = None,
) -> None:
    """Moves a cluster's objects into the cluster itself, or back, with Ironic and the operators around it.

    Example: capi-mover pivot -n metal3
    """
    telling = Telling(verbosity, output=output, log_format=log_format, metrics_file=metrics_file, dry_run=dry_run)
    with telling.begun() as teller:
        from mover.api import ClusterRef
        from mover.models import MoveOptions
        from mover.pivot.run import pivot as run_pivot
        from mover.report import summary

        source = ClusterRef(kubeconfig, kubeconfig_context, records_namespace=records_namespace)
        given = to_kubeconfig is not None or to_kubeconfig_context is not None
        target = (
            ClusterRef(to_kubeconfig, to_kubeconfig_context, records_namespace=records_namespace) if given else None
        )
        options = _pivot_options(
            move=MoveOptions(namespace=namespace or None, wait_hosts_s=wait_hosts),
            cluster=cluster,
            back=back,
            skip=frozenset(skip or ()),
            dry_run=dry_run,
            ironic=tuple(ironic or ()),
            operator=operator,
            ironic_operator=ironic_operator,
            leave_hosts=leave_hosts,
            stable_s=stable,
            timeout_s=step_timeout,
        )
        with teller.watching() as listener:
            report = run(run_pivot(source, target, options, listener))
        teller.report(report, [] if report.move is None else summary(report.move))
        if report.problems:
            raise typer.Exit(REFUSED)


def _pivot_options(**given: Any) -> PivotOptions:
    from pydantic import ValidationError

    from mover.pivot.models import PivotOptions

    try:
        return PivotOptions(**given)
    except ValidationError as error:
        first = error.errors()[0]
        fail(f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg']}", exit_code=2)
