"""The command line: reads flags, runs the library, prints. The only place that prints.

Flags of `move` are those of `clusterctl move`, so that one can stand in for the other.
"""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import sys
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from mover.models import ExistingPolicy, MoveOptions, OnFailure, PausedPolicy, RestoreStatus
from mover.pivot.models import IRONIC_OPERATOR_PLACE, OPERATOR_PLACE, PivotOptions, Step

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mover.api import ClusterRef
    from mover.models import MoveReport
    from mover.plan import Plan
    from mover.report import View

T = TypeVar("T")

app = typer.Typer(
    name="capi-mover",
    help="Moves Cluster API and Metal3 objects between management clusters.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root() -> None:
    """Moves Cluster API and Metal3 objects between management clusters."""


class HiddenWarnings(StrEnum):
    """Which warnings of the API servers are not shown."""

    DEFAULT = "default"
    ALL = "all"
    NONE = "none"


class OutputFormat(StrEnum):
    """How a command prints what it has found."""

    TEXT = "text"
    JSON = "json"


REFUSED = 3
DIFFERENT = 5
_SOURCE = "Source"
_TARGET = "Target"

Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        help="Kubeconfig of the source management cluster; default $KUBECONFIG, then ~/.kube/config.",
        rich_help_panel=_SOURCE,
    ),
]
KubeconfigContext = Annotated[
    str | None, typer.Option(help="Context in the source's kubeconfig.", rich_help_panel=_SOURCE)
]
ToKubeconfig = Annotated[
    Path | None, typer.Option(help="Kubeconfig of the target management cluster.", rich_help_panel=_TARGET)
]
ToKubeconfigContext = Annotated[
    str | None, typer.Option(help="Context in the target's kubeconfig.", rich_help_panel=_TARGET)
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        help="Namespace to move; default: that of the source's context.",
        # `-n=ns` is what clusterctl takes as well.
        callback=lambda value: value.removeprefix("=") if value else value,
    ),
]
Verbosity = Annotated[
    int, typer.Option("-v", "--v", min=0, help="How much to tell: 1 each object, 3 retries, 5 everything.")
]


@app.command()
def move(
    kubeconfig: Kubeconfig = None,
    kubeconfig_context: KubeconfigContext = None,
    to_kubeconfig: ToKubeconfig = None,
    to_kubeconfig_context: ToKubeconfigContext = None,
    namespace: Namespace = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be moved, and change nothing.")] = False,
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
    strict_labels: Annotated[
        bool, typer.Option("--strict-labels", help="Go by clusterctl's labels alone; do not know Metal3's kinds.")
    ] = False,
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
    pause_timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for controllers to confirm the pause.")
    ] = 120.0,
    hide_api_warnings: Annotated[
        HiddenWarnings, typer.Option(help="API server warnings to hide.")
    ] = HiddenWarnings.DEFAULT,
    verbosity: Verbosity = 0,
) -> None:
    """Moves Cluster API objects and all their dependencies between management clusters.

    The target must have the same providers installed, at the same or newer versions.

    Example: capi-mover move --to-kubeconfig=target-kubeconfig.yaml -n metal3
    """
    _check_exclusive(
        {"--to-directory": to_directory, "--to-kubeconfig": to_kubeconfig},
        {"--from-directory": from_directory, "--to-directory": to_directory},
        {"--from-directory": from_directory, "--kubeconfig": kubeconfig},
    )
    if not (to_kubeconfig or to_kubeconfig_context or to_directory or from_directory or dry_run):
        _fail("Please specify a target cluster using the --to-kubeconfig flag, or use --dry-run", exit_code=2)
    _set_up_logging(verbosity, hide_api_warnings)
    console = _console()
    with _errors_shown():
        from mover import api

        source = api.ClusterRef(kubeconfig, kubeconfig_context)
        target = api.ClusterRef(to_kubeconfig, to_kubeconfig_context)
        options = MoveOptions(
            namespace=namespace or None,
            paused=paused,
            existing=_existing_policy(adopt=adopt, overwrite=overwrite),
            to_namespace=to_namespace,
            keep_provider_ids=keep_provider_ids,
            strict_labels=strict_labels,
            leave_behind=leave_behind,
            restore_status=restore_status,
            on_failure=on_failure,
            timeout_s=timeout,
            wait_hosts_s=wait_hosts,
            ignore_stale_block_move=ignore_stale_block_move,
            pause_timeout_s=pause_timeout,
        )
        if to_directory:
            _backup(console, source, to_directory, options, Saving(verbosity=verbosity))
        elif from_directory:
            _restore(console, target, from_directory, options, Saving(verbosity=verbosity))
        elif dry_run:
            _show_plan(console, _run(api.plan_async(source, options)))
        else:
            with _view(console, verbosity) as view:
                report = _run(api.move_async(source, target, options, view))
            _print_all(console, summary_of(report))


EncryptTo = Annotated[
    list[str] | None, typer.Option(help="Encrypt the files to this age recipient (age1…); may be repeated.")
]
IdentityFile = Annotated[Path | None, typer.Option("--identity", help="File with the age identity to decrypt with.")]
KeepPaused = Annotated[bool, typer.Option("--keep-paused", help="Leave what was paused so, for a hand-over.")]


@dataclass(frozen=True, slots=True)
class Saving:
    """What backup and restore are asked for, beside what a move is."""

    verbosity: int = 0
    keep_paused: bool = False
    encrypt_to: tuple[str, ...] = ()
    identity: Path | None = None


@app.command("backup")
def backup_command(
    directory: Annotated[Path, typer.Argument(help="An empty directory, or one that is not there yet.")],
    kubeconfig: Kubeconfig = None,
    kubeconfig_context: KubeconfigContext = None,
    namespace: Namespace = None,
    keep_paused: KeepPaused = False,
    encrypt_to: EncryptTo = None,
    verbosity: Verbosity = 0,
) -> None:
    """Saves the objects of a namespace to a directory, one file each, with checksums.

    The source is paused for as long as it takes to read it. clusterctl move --from-directory can read the files, too.

    Example: capi-mover backup saved/ -n metal3 --encrypt-to age1…
    """
    _set_up_logging(verbosity, HiddenWarnings.DEFAULT)
    console = _console()
    with _errors_shown():
        from mover import api

        options = MoveOptions(namespace=namespace or None)
        saving = Saving(verbosity, keep_paused, tuple(encrypt_to or ()))
        _backup(console, api.ClusterRef(kubeconfig, kubeconfig_context), directory, options, saving)


@app.command("restore")
def restore_command(
    directory: Annotated[Path, typer.Argument(help="A directory made by capi-mover or by clusterctl.")],
    to_kubeconfig: ToKubeconfig = None,
    to_kubeconfig_context: ToKubeconfigContext = None,
    keep_paused: KeepPaused = False,
    identity: IdentityFile = None,
    verbosity: Verbosity = 0,
) -> None:
    """Creates the objects of a directory on a cluster; what is there already is left as it is.

    A damaged, missing or foreign file is refused by name before anything is created.

    Example: capi-mover restore saved/ --to-kubeconfig=target-kubeconfig.yaml
    """
    _set_up_logging(verbosity, HiddenWarnings.DEFAULT)
    console = _console()
    with _errors_shown():
        from mover import api

        saving = Saving(verbosity, keep_paused, identity=identity)
        _restore(console, api.ClusterRef(to_kubeconfig, to_kubeconfig_context), directory, MoveOptions(), saving)


@app.command("release")
def release_command(
    directory: Annotated[Path, typer.Argument(help="The directory of the backup.")],
    kubeconfig: Kubeconfig = None,
    kubeconfig_context: KubeconfigContext = None,
    identity: IdentityFile = None,
    verbosity: Verbosity = 0,
) -> None:
    """Resumes a source that a backup has left paused: by --keep-paused, or because it was killed.

    Example: capi-mover release saved/ --kubeconfig=source.kubeconfig
    """
    _set_up_logging(verbosity, HiddenWarnings.DEFAULT)
    console = _console()
    with _errors_shown():
        from mover import api

        with _view(console, verbosity) as view:
            source = api.ClusterRef(kubeconfig, kubeconfig_context)
            count = _run(api.release_async(source, directory, view, identity=identity))
        _print_all(console, [f"Resumed; {count} fields are as they were before the backup."])


def _backup(console: Console, source: ClusterRef, folder: Path, options: MoveOptions, saving: Saving) -> None:
    from mover import api

    with _view(console, saving.verbosity) as view:
        result = _run(
            api.backup_async(
                source, folder, options, view, keep_paused=saving.keep_paused, encrypt_to=saving.encrypt_to
            )
        )
    state = "is still paused" if saving.keep_paused else f"was paused for {result.paused_s:.1f} s"
    _print_all(console, ["", f"Saved {len(result.plan.selection.selected)} objects to {folder}; the source {state}."])


def _restore(console: Console, target: ClusterRef, folder: Path, options: MoveOptions, saving: Saving) -> None:
    from mover import api

    with _view(console, saving.verbosity) as view:
        result = _run(
            api.restore_async(target, folder, options, view, identity=saving.identity, keep_paused=saving.keep_paused)
        )
    there = f"; {len(result.used)} were there already and were left as they are" if result.used else ""
    _print_all(console, ["", f"Restored {result.created} objects from {folder}{there}."])


@app.command()
def resume(
    kubeconfig: Kubeconfig = None,
    kubeconfig_context: KubeconfigContext = None,
    to_kubeconfig: ToKubeconfig = None,
    to_kubeconfig_context: ToKubeconfigContext = None,
    namespace: Namespace = None,
    verbosity: Verbosity = 0,
) -> None:
    """Finishes a move that was interrupted, from the record it left in the clusters.

    Example: capi-mover resume --to-kubeconfig=target-kubeconfig.yaml -n metal3
    """
    _set_up_logging(verbosity, HiddenWarnings.DEFAULT)
    console = _console()
    with _errors_shown():
        from mover import api

        source = api.ClusterRef(kubeconfig, kubeconfig_context)
        target = api.ClusterRef(to_kubeconfig, to_kubeconfig_context)
        with _view(console, verbosity) as view:
            report = _run(api.resume_async(source, target, namespace, view))
        _print_all(console, summary_of(report))


@app.command()
def rollback(
    kubeconfig: Kubeconfig = None,
    kubeconfig_context: KubeconfigContext = None,
    to_kubeconfig: ToKubeconfig = None,
    to_kubeconfig_context: ToKubeconfigContext = None,
    namespace: Namespace = None,
    verbosity: Verbosity = 0,
) -> None:
    """Undoes a move that was interrupted before it deleted anything.

    The copies leave the target, and the source is exactly as it was. Once originals may be gone, only forward is safe,
    and this is refused.

    Example: capi-mover rollback --to-kubeconfig=target-kubeconfig.yaml -n metal3
    """
    _set_up_logging(verbosity, HiddenWarnings.DEFAULT)
    console = _console()
    with _errors_shown():
        from mover import api

        source = api.ClusterRef(kubeconfig, kubeconfig_context)
        target = api.ClusterRef(to_kubeconfig, to_kubeconfig_context)
        with _view(console, verbosity) as view:
            _run(api.rollback_async(source, target, namespace, view))


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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show every step, and change nothing.")] = False,
    verbosity: Verbosity = 0,
) -> None:
    """Moves a cluster's objects into the cluster itself, or back, with Ironic and the operators around it.

    Example: capi-mover pivot -n metal3
    """
    _set_up_logging(verbosity, HiddenWarnings.DEFAULT)
    console = _console()
    with _errors_shown():
        from mover.api import ClusterRef
        from mover.pivot.run import pivot as run_pivot

        source = ClusterRef(kubeconfig, kubeconfig_context)
        given = to_kubeconfig is not None or to_kubeconfig_context is not None
        target = ClusterRef(to_kubeconfig, to_kubeconfig_context) if given else None
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
        with _view(console, verbosity) as view:
            report = _run(run_pivot(source, target, options, view))
        if report.move is not None:
            _print_all(console, summary_of(report.move))
        if report.problems:
            raise typer.Exit(REFUSED)


def _pivot_options(**given: Any) -> PivotOptions:
    from pydantic import ValidationError

    try:
        return PivotOptions(**given)
    except ValidationError as error:
        first = error.errors()[0]
        _fail(f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg']}", exit_code=2)


@app.command()
def status(
    kubeconfig: Kubeconfig = None,
    kubeconfig_context: KubeconfigContext = None,
    output: Annotated[OutputFormat, typer.Option("--output", "-o", help="How to print it.")] = OutputFormat.TEXT,
) -> None:
    """Shows which moves a cluster takes part in, their phase, since when, and the next command.

    Example: capi-mover status --kubeconfig=bootstrap.kubeconfig
    """
    console = _console()
    with _errors_shown():
        from mover import api
        from mover.report import status_lines

        records = _run(api.status_async(api.ClusterRef(kubeconfig, kubeconfig_context)))
        if output is OutputFormat.JSON:
            _print_json([record.model_dump(mode="json") for record in records])
        else:
            _print_all(console, status_lines(records))


@app.command()
def diff(
    one: Annotated[str, typer.Argument(help="A kubeconfig, KUBECONFIG@CONTEXT, or a directory.", metavar="A")],
    other: Annotated[str, typer.Argument(help="Another one.", metavar="B")],
    namespace: Namespace = None,
    output: Annotated[OutputFormat, typer.Option("--output", "-o", help="How to print it.")] = OutputFormat.TEXT,
) -> None:
    """Shows where the movable objects of two clusters or directories differ; exit code 0 if they are equal, 5 if not.

    What a server assigns (UIDs, versions, times) is not compared.

    Example: capi-mover diff source.kubeconfig target.kubeconfig@admin -n metal3
    """
    console = _console()
    with _errors_shown():
        from mover import api

        found = _run(api.diff_async(api.place_of(one), api.place_of(other), namespace))
        if output is OutputFormat.JSON:
            _print_json([asdict(difference) for difference in found])
        else:
            _print_all(console, [str(difference) for difference in found] or ["No differences"])
        if found:
            raise typer.Exit(DIFFERENT)


def _print_json(value: Any) -> None:
    import orjson

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine; SIGTERM stops it as the first Ctrl-C does: at a safe point."""

    async def stoppable() -> T:
        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await coroutine

    return asyncio.run(stoppable())


def _existing_policy(*, adopt: bool, overwrite: bool) -> ExistingPolicy:
    if adopt and overwrite:
        _fail("Please specify only one of --adopt and --overwrite", exit_code=2)
    if overwrite:
        return ExistingPolicy.OVERWRITE
    return ExistingPolicy.ADOPT if adopt else ExistingPolicy.REFUSE


def _check_exclusive(*groups: dict[str, object]) -> None:
    for group in groups:
        given = [name for name, value in group.items() if value is not None]
        if len(given) > 1:
            _fail(f"Please specify only one of {' and '.join(given)}", exit_code=2)


def _show_plan(console: Console, plan: Plan) -> None:
    from graph.render import tree

    selection = plan.selection
    console.print("This is a dry run: nothing is changed on any cluster.", highlight=False)
    console.print(tree(selection), highlight=False, markup=False, soft_wrap=True)
    counts = f"{len(selection.moved)} objects would move, {len(selection.kept)} would be copied and kept"
    console.print(f"\n{counts}, {len(selection.left)} stay.", highlight=False)


def summary_of(report: MoveReport) -> list[str | Table]:
    """Returns what to print at the end of a move."""
    from mover.report import summary

    return summary(report)


def _print_all(console: Console, parts: Iterable[str | Table]) -> None:
    for part in parts:
        console.print(part, highlight=False, markup=False, soft_wrap=isinstance(part, str))


def _console() -> Console:
    from rich.console import Console

    return Console()


def _view(console: Console, verbosity: int) -> View:
    from mover.report import BarView, LineView

    return BarView(console, verbosity) if console.is_terminal else LineView(console, verbosity)


def _set_up_logging(verbosity: int, hidden: HiddenWarnings) -> None:
    """Sends our own log to stderr: retries from verbosity 3, everything from 5, API warnings as asked for."""
    level = logging.DEBUG if verbosity >= 5 else logging.INFO if verbosity >= 3 else logging.WARNING
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    logging.getLogger("capi-mover").setLevel(level)
    api_warnings = logging.getLogger("capi-mover.api-warnings")
    if hidden is not HiddenWarnings.NONE:
        api_warnings.addFilter(lambda record: hidden is not HiddenWarnings.ALL and not _is_usual(record.getMessage()))


_FINALIZER_WARNING = re.compile(r"metadata\.finalizers:.*prefer a domain-qualified finalizer name")


def _is_usual(warning: str) -> bool:
    """Returns whether a warning is in clusterctl's default set (util/apiwarnings): finalizers without a domain."""
    return bool(_FINALIZER_WARNING.search(warning))


@contextmanager
def _errors_shown() -> Iterator[None]:
    """Shows every error of ours as one clear paragraph and leaves with its exit code."""
    from mover.errors import MoverError

    try:
        yield
    except MoverError as error:
        _fail(str(error), exit_code=error.exit_code)
    except KeyboardInterrupt:
        _fail("Stopped by Ctrl-C", exit_code=4)


def _fail(text: str, *, exit_code: int) -> NoReturn:
    typer.echo(f"Error: {text}", err=True)
    raise typer.Exit(exit_code)


def main() -> None:
    """Runs the command line."""
    app()
