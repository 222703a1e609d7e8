"""What a command did as OpenMetrics, for the textfile collector of node_exporter or a Pushgateway.

All of them are gauges: they are of one run, and Prometheus' older text format, which the textfile collector reads,
has them too. docs/output.md lists them, and a test holds to the names.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector

from mover.directory.files import write_file
from mover.events import Event, InUnit, ObjectDone, PhaseEnded, PhaseStarted, Step, Traffic, UnitEnded
from mover.models import MoveReport, Phase, UnitFate
from mover.report.keeping import Ending

_READABLE = 0o644
_RESULTS = {0: "done", 2: "usage", 3: "refused", 4: "stopped", 5: "different"}
_FAULT = "fault"
_PAUSED = frozenset({Phase.PAUSING, Phase.CREATING, Phase.VERIFYING, Phase.DELETING, Phase.RESUMING})
_RELEASING = frozenset({Phase.RESUMING, Phase.ROLLING_BACK, Phase.RELEASING})

Label = tuple[str, ...]


class Metrics:
    """Counts and measures what it is told, and writes it to a file at the end."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._started = time.monotonic()
        self._seconds: defaultdict[Label, float] = defaultdict(float)
        self._open: dict[str, tuple[Phase, float]] = {}
        self._paused: defaultdict[str, float] = defaultdict(float)
        self._paused_since: dict[str, float] = {}
        self._verbs: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._calls: Counter[Label] = Counter()
        self._retries: Counter[str] = Counter()
        self._fates: dict[str, UnitFate] = {}

    def __call__(self, event: Event) -> None:
        """Takes note of an event."""
        match event:
            case InUnit(unit, step):
                self._step(unit, step)
            case PhaseStarted() | ObjectDone() | PhaseEnded():
                self._step("", event)
            case UnitEnded(unit, fate, _):
                self._close(unit)
                self._release(unit)
                self._fates[unit] = fate
            case Traffic(cluster, calls, retries):
                self._calls.update({(cluster, verb): count for verb, count in calls.items()})
                self._retries[cluster] += retries

    def _step(self, unit: str, step: Step) -> None:
        match step:
            case PhaseStarted(phase, _):
                self._close(unit)
                self._open[unit] = (phase, time.monotonic())
                if phase in _PAUSED:
                    self._paused_since.setdefault(unit, time.monotonic())
            case PhaseEnded(phase, _):
                self._close(unit)
                if phase in _RELEASING:
                    self._release(unit)
            case ObjectDone(_, subject, verb):
                self._verbs[subject.partition(" ")[0]][verb] += 1

    def _close(self, unit: str) -> None:
        """Ends the phase of a unit, if one is open: one that fails is not told to have ended."""
        if unit in self._open:
            phase, since = self._open.pop(unit)
            self._seconds[phase, unit] += time.monotonic() - since

    def _release(self, unit: str) -> None:
        if unit in self._paused_since:
            self._paused[unit] += time.monotonic() - self._paused_since.pop(unit)

    def end(self, ending: Ending) -> None:
        """Writes the file.

        Raises:
            FileError: It cannot be written.
        """
        for unit in list(self._open):
            self._close(unit)
        for unit in list(self._paused_since):
            self._release(unit)
        registry = CollectorRegistry()
        registry.register(_Collected(self._families(ending)))
        content: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]
        write_file(self._file, content, mode=_READABLE)

    def _families(self, ending: Ending) -> Iterator[Metric]:
        result = _RESULTS.get(ending.exit_code, _FAULT)
        results = [((name,), float(name == result)) for name in (*_RESULTS.values(), _FAULT)]
        yield _gauge("result", "1 for what came of the run, 0 for all else", ("result",), results)
        yield _gauge("exit_code", "The exit code of the run", (), [((), ending.exit_code)])
        yield _gauge("end_timestamp_seconds", "When the run ended", (), [((), time.time())])
        yield _gauge("seconds", "How long the run took", (), [((), time.monotonic() - self._started)])
        yield _gauge("phase_seconds", "How long each phase took, by unit", ("phase", "unit"), self._seconds.items())
        paused = (((unit,), seconds) for unit, seconds in self._paused.items())
        yield _gauge("pause_seconds", "From the first pause to the last resume, by unit", ("unit",), paused)
        objects = self._objects(ending).items()
        yield _gauge("objects", "Objects by kind and by what became of them", ("kind", "fate"), objects)
        yield _gauge("calls", "Requests sent, by cluster and HTTP method", ("cluster", "verb"), self._calls.items())
        retries = (((cluster,), count) for cluster, count in self._retries.items())
        yield _gauge("retries", "Tries after a transient failure, by cluster", ("cluster",), retries)
        fates = (((unit, fate), 1) for unit, fate in self._fates.items())
        yield _gauge("unit_fate", "1 for what became of each unit of a rolling move", ("unit", "fate"), fates)

    def _objects(self, ending: Ending) -> dict[Label, int]:
        """Returns how many objects of each kind share a fate.

        Copied is what has a copy now and is where it was, too: kept on purpose, or not deleted yet. A kind is named
        without its group, as events have it.
        """
        found: Counter[Label] = Counter()
        for kind, verbs in self._verbs.items():
            found[kind, "moved"] = verbs["deleted"]
            found[kind, "rolled-back"] = verbs["removed"]
            found[kind, "copied"] = max(0, verbs["created"] - verbs["deleted"] - verbs["removed"])
            found[kind, "saved"] = verbs["saved"]
        for report in ending.reports:
            if isinstance(report, MoveReport):
                found.update((left.object.partition(" ")[0], "left") for left in report.left)
        return {label: count for label, count in sorted(found.items()) if count}


class _Collected(Collector):
    """What a registry asks for metrics that are there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        """Returns the metrics."""
        return self._families


def _gauge(name: str, what: str, labels: Label, values: Iterable[tuple[Label, float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"capi_mover_{name}", what, labels=labels)
    for label, value in values:
        family.add_metric(label, value)
    return family
