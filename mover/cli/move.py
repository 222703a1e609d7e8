"""`capi-mover move`: its flags are those of `clusterctl move`, so that one can stand in for the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mover.choices import ExistingPolicy, OnFailure, PausedPolicy, RestoreStatus, UnitOrder
from mover.cli.app import app
from mover.cli.dry_runs import dry_move, dry_shard
from mover.cli.options import (
    AllHosts,
    AllNamespaces,
    ClusterNames,
    DryRunFlag,
    FailFast,
    HiddenWarnings,
    Hosts,
    IncludeReferenced,
    Kubeconfig,
    KubeconfigContext,
    LogAs,
    LogFormat,
    MaxRequests,
    MetricsFile,
    Namespaces,
    OrderBy,
    OutputFormat,
    ParallelUnits,
    RecordsNamespace,
    ReportFile,
    Rolling,
    Selector,
    ShardOption,
    Skip,
    StrictLabels,
    ToKubeconfig,
    ToKubeconfigContext,
    ToldAs,
    Verbosity,
    WarnOnly,
)
from mover.cli.rolling import require_rollable, roll
from mover.cli.saving import Saving, load, save
from mover.cli.series import tell_series
from mover.cli.sharding import move_shard, require_shardable
from mover.cli.telling import Teller, Telling
from mover.cli.terminal import fail, run
from mover.names import RECORDS_NAMESPACE

if TYPE_CHECKING:
    from mover.api import ClusterRef
    from mover.events import Listener
    from mover.models import MoveOptions, MoveReport


@app.command()
def move(
    kubeconfig: Kubeconfig = None,
    kubeconfig_context: KubeconfigContext = None,
    to_kubeconfig: ToKubeconfig = None,
    to_kubeconfig_context: ToKubeconfigContext = None,
    namespace: Namespaces = None,
    all_namespaces: AllNamespaces = False,
    shard: ShardOption = "",
    cluster: ClusterNames = None,
    selector: Selector = "",
    hosts: Hosts = "",
    all_hosts: AllHosts = False,
    dry_run: DryRunFlag = False,
    plan: Annotated[
        Path | None, typer.Option(help="Do what this saved plan says, or refuse if the source has changed since.")
    ] = None,
    to_directory: Annotated[
        Path | None, typer.Option(help="Save the objects to this directory instead of a cluster.")
    ] = None,
    from_directory: Annotated[Path | None, typer.Option(help="Restore objects from this directory.")] = None,
    paused: Annotated[
        PausedPolicy, typer.Option(help="Clusters that somebody has paused: refuse, or move them and keep them paused.")
    ] = PausedPolicy.REFUSE,
    adopt: Annotated[bool, typer.Option("--adopt", help="Take over objects on the target that are equal.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Overwrite objects on the target, as clusterctl does.")
    ] = False,
    to_namespace: Annotated[
        str | None, typer.Option(help="Namespace on the target; every reference is rewritten, or refused by name.")
    ] = None,
    keep_provider_ids: Annotated[
        bool,
        typer.Option("--keep-provider-ids", help="With --to-namespace: accept that provider IDs keep the old one."),
    ] = False,
    strict_labels: StrictLabels = False,
    leave_behind: Annotated[
        bool, typer.Option("--leave-behind", help="Leave objects whose owner does not move, with all below them.")
    ] = False,
    restore_status: Annotated[
        RestoreStatus, typer.Option(help="Whose status is restored on the target.")
    ] = RestoreStatus.ALL,
    on_failure: Annotated[
        OnFailure, typer.Option(help="A move that fails before it deletes anything: undo it, or keep it for a resume.")
    ] = OnFailure.ROLLBACK,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds after which to give up; 0 for never.")] = 0.0,
    wait_hosts: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for hosts that are about to change; default: refuse.")
    ] = 0.0,
    ignore_stale_block_move: Annotated[
        bool,
        typer.Option("--ignore-stale-block-move", help="Do not wait for block-move on hosts without a consumer."),
    ] = False,
    skip: Skip = None,
    warn_only: WarnOnly = False,
    include_referenced: IncludeReferenced = False,
    rolling: Rolling = False,
    parallel_units: ParallelUnits = 2,
    fail_fast: FailFast = False,
    order_by: OrderBy = UnitOrder.NAME,
    copy_ahead: Annotated[
        bool,
        typer.Option(
            "--copy-ahead",
            help="Copy before the source is paused, then only what has changed: shorter pauses, more calls.",
        ),
    ] = False,
    pause_timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for controllers to confirm the pause.")
    ] = 120.0,
    max_requests: MaxRequests = None,
    hide_api_warnings: Annotated[
        HiddenWarnings, typer.Option(help="API server warnings to hide.")
    ] = HiddenWarnings.DEFAULT,
    records_namespace: RecordsNamespace = RECORDS_NAMESPACE,
    verbosity: Verbosity = 0,
    output: ToldAs = OutputFormat.TEXT,
    log_format: LogAs = LogFormat.TEXT,
    metrics_file: MetricsFile = None,
    report: ReportFile = None,
) -> None:
    """Moves Cluster API objects and all their dependencies between management clusters.

    The target must have the same providers installed, at the same or newer versions.

    Example: capi-mover move --to-kubeconfig=target-kubeconfig.yaml -n metal3

    Example: capi-mover move --to-kubeconfig=target-kubeconfig.yaml -n metal3 --cluster prod-1
    """
    telling = Telling(verbosity, hide_api_warnings, output, log_format, metrics_file, report, dry_run)
    with telling.begun() as teller:
        _check_exclusive(
            {"--to-directory": to_directory, "--to-kubeconfig": to_kubeconfig},
            {"--from-directory": from_directory, "--to-directory": to_directory},
            {"--from-directory": from_directory, "--kubeconfig": kubeconfig},
            {"--plan": plan, "--to-directory": to_directory},
            {"--plan": plan, "--from-directory": from_directory},
            {"--copy-ahead": copy_ahead or None, "--to-directory": to_directory},
            {"--copy-ahead": copy_ahead or None, "--from-directory": from_directory},
            {"--report": report, "--to-directory": to_directory},
            {"--report": report, "--from-directory": from_directory},
            {"--namespace": namespace or None, "--all-namespaces": all_namespaces or None},
            {"--shard": shard or None, "--namespace": namespace or None},
        )
        require_shardable(
            shard,
            all_namespaces=all_namespaces,
            to_namespace=to_namespace is not None,
            clusters=bool(cluster or selector),
            one_move=bool(plan or to_directory or from_directory),
        )
        namespaces = _namespaces_of(namespace, all_namespaces=all_namespaces)
        _require_one_namespace(namespaces, {"A directory holds": to_directory, "A plan is of one move: of": plan})
        if not (to_kubeconfig or to_kubeconfig_context or to_directory or from_directory or dry_run):
            fail("Please specify a target cluster using the --to-kubeconfig flag, or use --dry-run", exit_code=2)
        if rolling:
            require_rollable(
                plan=plan is not None,
                directory=bool(to_directory or from_directory),
                clusters=bool(cluster or selector),
                namespaces=len(namespaces),
            )
        from mover import api
        from mover.models import MoveOptions, RollingOptions
        from mover.shard import shard_of

        source = api.ClusterRef(kubeconfig, kubeconfig_context, max_requests, records_namespace=records_namespace)
        target = api.ClusterRef(to_kubeconfig, to_kubeconfig_context, max_requests, records_namespace=records_namespace)
        options = MoveOptions(
            namespace=namespaces[0],
            clusters=tuple(cluster or ()),
            selector=selector,
            hosts=hosts,
            all_hosts=all_hosts,
            paused=paused,
            existing=existing_policy(adopt=adopt, overwrite=overwrite),
            to_namespace=to_namespace,
            keep_provider_ids=keep_provider_ids,
            strict_labels=strict_labels,
            leave_behind=leave_behind,
            restore_status=restore_status,
            on_failure=on_failure,
            timeout_s=timeout,
            wait_hosts_s=wait_hosts,
            ignore_stale_block_move=ignore_stale_block_move,
            skip=tuple(skip or ()),
            warn_only=warn_only,
            include_referenced=include_referenced,
            copy_ahead=copy_ahead,
            pause_timeout_s=pause_timeout,
        )
        how = RollingOptions(parallel=parallel_units, fail_fast=fail_fast, order=order_by) if rolling else None
        part = api.ShardMove(shard_of(shard), options, how) if shard else None
        each = [options.model_copy(update={"namespace": one}) for one in namespaces]
        goal = target if to_kubeconfig or to_kubeconfig_context else None
        if to_directory:
            save(teller, source, to_directory, options, Saving(dry_run=dry_run))
        elif from_directory:
            load(teller, target, from_directory, options, Saving(dry_run=dry_run))
        elif part is not None and dry_run:
            dry_shard(teller, (source, goal), part)
        elif dry_run:
            dry_move(teller, (source, goal), each, plan, how)
        elif part is not None:
            move_shard(teller, (source, target), part)
        elif how is not None:
            roll(teller, (source, target), each, how)
        else:
            _move(teller, (source, target), each, plan)


def _move(
    teller: Teller, places: tuple[ClusterRef, ClusterRef], each: Sequence[MoveOptions], plan: Path | None
) -> None:
    """Moves one namespace, or several one after the other."""
    from mover import api

    def moved(listener: Listener) -> Sequence[MoveReport]:
        if len(each) == 1:
            return [run(api.move_async(*places, each[0], listener, plan_file=plan))]
        given = [one.namespace for one in each if one.namespace]
        return run(api.move_each_async(*places, given, each[0], listener))

    tell_series(teller, moved)


def _require_one_namespace(namespaces: Sequence[str | None], given: Mapping[str, object]) -> None:
    """Leaves with an error if several namespaces are asked for beside what is of one."""
    for what, value in given.items():
        if value is not None and len(namespaces) > 1:
            fail(f"{what} one namespace, or all of them", exit_code=2)


def _namespaces_of(given: list[str] | None, *, all_namespaces: bool) -> list[str | None]:
    """Returns the namespaces to move, one at least: "" for all of them, None for the context's."""
    return [""] if all_namespaces else list(filter(None, given or ())) or [None]


def existing_policy(*, adopt: bool, overwrite: bool) -> ExistingPolicy:
    """Returns what the two flags mean together; leaves with an error if both are given."""
    if adopt and overwrite:
        fail("Please specify only one of --adopt and --overwrite", exit_code=2)
    if overwrite:
        return ExistingPolicy.OVERWRITE
    return ExistingPolicy.ADOPT if adopt else ExistingPolicy.REFUSE


def _check_exclusive(*groups: dict[str, object]) -> None:
    for group in groups:
        given = [name for name, value in group.items() if value is not None]
        if len(given) > 1:
            fail(f"Please specify only one of {' and '.join(given)}", exit_code=2)
