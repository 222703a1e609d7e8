"""The options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mover.choices import UnitOrder
from mover.cli.completing import complete_checks, complete_source_context, complete_target_context


class HiddenWarnings(StrEnum):
    """Which warnings of the API servers are not shown."""

    DEFAULT = "default"
    ALL = "all"
    NONE = "none"


class OutputFormat(StrEnum):
    """How a command prints what it has found."""

    TEXT = "text"
    JSON = "json"


class LogFormat(StrEnum):
    """How our own log is written to stderr."""

    TEXT = "text"
    JSON = "json"


_SOURCE = "Source"
_TARGET = "Target"
_ROLLING = "Rolling moves"
_TELLING = "Output"

Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        help="Kubeconfig of the source management cluster; default $KUBECONFIG, then ~/.kube/config, then, in a pod, "
        "its service account.",
        rich_help_panel=_SOURCE,
    ),
]
KubeconfigContext = Annotated[
    str | None,
    typer.Option(
        help="Context in the source's kubeconfig; in-cluster: the pod's service account.",
        rich_help_panel=_SOURCE,
        autocompletion=complete_source_context,
    ),
]
ToKubeconfig = Annotated[
    Path | None, typer.Option(help="Kubeconfig of the target management cluster.", rich_help_panel=_TARGET)
]
ToKubeconfigContext = Annotated[
    str | None,
    typer.Option(
        help="Context in the target's kubeconfig; in-cluster: the pod's service account.",
        rich_help_panel=_TARGET,
        autocompletion=complete_target_context,
    ),
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
Namespaces = Annotated[
    list[str] | None,
    typer.Option(
        "--namespace",
        "-n",
        help="Namespace to move; may be repeated, one is moved after the other. Default: that of the source's context.",
        callback=lambda values: [value.removeprefix("=") for value in values or ()],
    ),
]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces, in one move.")]
ShardOption = Annotated[
    str,
    typer.Option(
        "--shard",
        metavar="INDEX/TOTAL",
        help="With -A: only the namespaces of one of TOTAL shards, one after the other; INDEX from 0 on. "
        "Movers of different shards may run at once.",
    ),
]
ClusterNames = Annotated[
    list[str] | None,
    typer.Option("--cluster", help="Only this Cluster of the namespace, and what belongs to it; may be repeated."),
]
Selector = Annotated[
    str, typer.Option("--selector", "-l", help="Only the Clusters of the namespace with these labels.")
]
Hosts = Annotated[
    str, typer.Option(help="With single Clusters: the spare hosts with these labels, too. Default: they stay.")
]
AllHosts = Annotated[
    bool, typer.Option("--all-hosts", help="With single Clusters: all spare hosts of the namespace, too.")
]
StrictLabels = Annotated[
    bool, typer.Option("--strict-labels", help="Go by clusterctl's labels alone; do not know Metal3's kinds.")
]
Skip = Annotated[
    list[str] | None,
    typer.Option(
        "--skip",
        help="A check of the preflight to leave out; may be repeated.",
        metavar="CHECK",
        autocompletion=complete_checks,
    ),
]
WarnOnly = Annotated[
    bool,
    typer.Option("--warn-only", help="Go on with what the preflight finds, unless it guards against loss."),
]
Rolling = Annotated[
    bool,
    typer.Option(
        "--rolling",
        help="Cluster after Cluster, each paused only while it moves itself; one that fails is undone alone.",
        rich_help_panel=_ROLLING,
    ),
]
ParallelUnits = Annotated[
    int, typer.Option(min=1, help="How many Clusters are moved at once.", rich_help_panel=_ROLLING)
]
FailFast = Annotated[
    bool, typer.Option("--fail-fast", help="Begin no further Cluster once one has failed.", rich_help_panel=_ROLLING)
]
OrderBy = Annotated[
    UnitOrder,
    typer.Option(help="Which Clusters go first: by name, the smallest, the oldest.", rich_help_panel=_ROLLING),
]
IncludeReferenced = Annotated[
    bool,
    typer.Option(
        "--include-referenced", help="Copy what the objects name in their specs and nothing else takes along."
    ),
]
MaxRequests = Annotated[
    int | None, typer.Option(min=1, help="How many requests may be under way to each cluster at once, at most.")
]
RecordsNamespace = Annotated[
    str,
    typer.Option(
        help="Namespace of the records and leases of moves, on both clusters, to which only those may write who may "
        "direct moves. The same for every command of a move. Default: one of our own name.",
        metavar="NAME",
        show_default=False,
    ),
]
Verbosity = Annotated[
    int,
    typer.Option(
        "-v", "--v", min=0, help="How much to tell: 1 each object, 3 retries, 5 everything.", rich_help_panel=_TELLING
    ),
]
ToldAs = Annotated[
    OutputFormat,
    typer.Option(
        "--output", "-o", help="Text, or a line of JSON for each event and for the report.", rich_help_panel=_TELLING
    ),
]
LogAs = Annotated[
    LogFormat, typer.Option("--log-format", help="How the log on stderr is written.", rich_help_panel=_TELLING)
]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="Write a page to look around in, with all that happened, to this file at the end, also of a failure.",
        metavar="FILE",
        rich_help_panel=_TELLING,
    ),
]
MetricsFile = Annotated[
    Path | None,
    typer.Option(
        "--metrics-file",
        help="Write OpenMetrics to this file at the end, also of a failure.",
        metavar="FILE",
        rich_help_panel=_TELLING,
    ),
]
Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="How to print it.")]
DryRunFlag = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Show what would be done and whether it would be refused; change nothing, write no file."
    ),
]
EncryptTo = Annotated[
    list[str] | None, typer.Option(help="Encrypt the files to this age recipient (age1…); may be repeated.")
]
IdentityFile = Annotated[Path | None, typer.Option("--identity", help="File with the age identity to decrypt with.")]
KeepPaused = Annotated[bool, typer.Option("--keep-paused", help="Leave what was paused so, for a hand-over.")]
