"""What a command did as OpenMetrics, for the textfile collector of node_exporter or a Pushgateway.

All of them are gauges: they are of one run, and Prometheus' older text format, which the textfile collector reads,
has them too. docs/output.md lists them, and a test holds to the names.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector

from mover.chronicle import Chronicle, Chronicler, PhaseSpan, Window, windows
from mover.directory.files import write_file
from mover.events import Event, InUnit, ObjectDone
from mover.models import MoveReport
from mover.report.keeping import Ending

_READABLE = 0o644
_RESULTS = {0: "done", 2: "usage", 3: "refused", 4: "stopped", 5: "different"}
_FAULT = "fault"
Label = tuple[str, ...]


class Metrics:
    """Counts and measures what it is told, and writes it to a file at the end."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns the seconds since some moment."""
        self._file = file
        self._chronicler = Chronicler(clock)
        self._verbs: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def __call__(self, event: Event) -> None:
        """Takes note of an event."""
        self._chronicler(event)
        step = event.step if isinstance(event, InUnit) else event
        if isinstance(step, ObjectDone):
            self._verbs[step.subject.partition(" ")[0]][step.verb] += 1

    def end(self, ending: Ending) -> None:
        """Writes the file.

        Raises:
            FileError: It cannot be written.
        """
        registry = CollectorRegistry()
        registry.register(_Collected(self._families(self._chronicler.chronicle(), ending)))
        content: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]
        write_file(self._file, content, mode=_READABLE)

    def _families(self, chronicle: Chronicle, ending: Ending) -> Iterator[Metric]:
        result = _RESULTS.get(ending.exit_code, _FAULT)
        results = [((name,), float(name == result)) for name in (*_RESULTS.values(), _FAULT)]
        yield _gauge("result", "1 for what came of the run, 0 for all else", ("result",), results)
        yield _gauge("exit_code", "The exit code of the run", (), [((), ending.exit_code)])
        yield _gauge("end_timestamp_seconds", "When the run ended", (), [((), time.time())])
        yield _gauge("seconds", "How long the run took", (), [((), chronicle.seconds)])
        phases = _summed(((span.phase, _unit(span)), span.seconds) for span in chronicle.phases)
        yield _gauge("phase_seconds", "How long each phase took, by unit", ("phase", "unit"), phases)
        paused = _summed(((_unit(window),), window.seconds) for window in windows(chronicle.phases).values())
        yield _gauge("pause_seconds", "From the first pause to the last resume, by unit", ("unit",), paused)
        objects = self._objects(ending).items()
        yield _gauge("objects", "Objects by kind and by what became of them", ("kind", "fate"), objects)
        asked = chronicle.traffic
        calls = (((one.cluster, verb), count) for one in asked for verb, count in one.calls.items())
        yield _gauge("calls", "Requests sent, by cluster and HTTP method", ("cluster", "verb"), calls)
        retries = (((one.cluster,), one.retries) for one in asked)
        yield _gauge("retries", "Tries after a transient failure, by cluster", ("cluster",), retries)
        fates = (((unit.scope, unit.fate), 1) for unit in chronicle.units if unit.fate is not None)
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
            copied = max(verbs["created"], verbs["copied"] - verbs["withdrawn"])
            found[kind, "copied"] = max(0, copied - verbs["deleted"] - verbs["removed"])
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


def _unit(told: PhaseSpan | Window) -> str:
    """Returns the label of a unit; all that is none has the same, one namespace after the other."""
    return told.scope if told.of_unit else ""


def _summed(values: Iterable[tuple[Label, float]]) -> Iterable[tuple[Label, float]]:
    found: defaultdict[Label, float] = defaultdict(float)
    for label, value in values:
        found[label] += value
    return found.items()


def _gauge(name: str, what: str, labels: Label, values: Iterable[tuple[Label, float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"capi_mover_{name}", what, labels=labels)
    for label, value in values:
        family.add_metric(label, value)
    return family
