"""Moves that are told to a chronicler at chosen times, for tests of their pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graph import rules
from graph.unit import units
from mover.chronicle import Chronicler
from mover.errors import Difference, VerificationError
from mover.events import (
    Event,
    InUnit,
    Noted,
    ObjectDone,
    PhaseEnded,
    PhaseStarted,
    Planned,
    RollingStarted,
    Step,
    Traffic,
    UnitEnded,
    UnitStarted,
    Waiting,
)
from mover.execute.run import RolledBackError
from mover.models import KindCount, MoveReport, Phase, RollingReport, UnitFate, UnitReport
from mover.page import Drawer, report_page
from mover.planning import Plan
from mover.scope import clusters_of, scope_of
from tests.unit.mover_builders import make, plan_of

HIDDEN = "value-of-a-field"
CLUSTERS = tuple(make(rules.CLUSTER, name, spec={"field": HIDDEN}) for name in "abc")
MACHINES = tuple(make(rules.MACHINE, f"{one.key.name}-{n}", owners=[one]) for one in CLUSTERS for n in (1, 2))
CLASS = make(rules.CLUSTER_CLASS, "class")
SECRET = make(rules.SECRET, "a-ca", owners=[CLUSTERS[0]], data={"tls.key": HIDDEN})
LOOSE = make(rules.SECRET, "loose", data={"password": HIDDEN})
PLAN = plan_of(*CLUSTERS, *MACHINES, CLASS, SECRET, LOOSE)
PHASES = (Phase.PAUSING, Phase.CREATING, Phase.VERIFYING, Phase.DELETING, Phase.RESUMING)
TRAFFIC = (Traffic("source", {"GET": 12, "DELETE": 8}, 0), Traffic("target", {"GET": 5, "POST": 8}, 2))


class Story:
    """A move, told step by step.

    Attributes:
        now_s: What the clock shows; set it to go on.
    """

    def __init__(self, plan: Plan = PLAN, *, rolling: bool = False) -> None:
        """Tells of a preflight that takes one second."""
        self.now_s = 100.0
        self.chronicler = Chronicler(lambda: self.now_s)
        self.drawer = Drawer()
        selection = plan.selection
        found = units(selection) if rolling else ()
        self.units = [scope_of(unit.namespace, unit.names) for unit in found]
        self.tell(PhaseStarted(Phase.PREFLIGHT))
        self.now_s += 1
        self.tell(
            Planned(plan.scope, "here", "there", selection, plan.creation, plan.deletion, found),
            PhaseEnded(Phase.PREFLIGHT, 1),
        )

    def tell(self, *events: Event) -> None:
        """Tells of what happens now."""
        for event in events:
            self.chronicler(event)
            self.drawer(event)

    def go_through(self, phases: Sequence[Phase], unit: str | None = None) -> None:
        """Tells of phases of two objects that take a second each."""
        for phase in phases:
            self.begin(phase, unit)
            self.now_s += 1
            self.tell(_of(unit, PhaseEnded(phase, 1)))

    def begin(self, phase: Phase, unit: str | None = None) -> None:
        """Tells that a phase begins, and of one of its two objects."""
        self.tell(_of(unit, PhaseStarted(phase, 2)), _of(unit, ObjectDone(phase, "Machine ns/m", "done")))

    def page(self, report: MoveReport | RollingReport | None = None, error: BaseException | None = None) -> str:
        """Returns the page of what was told."""
        self.tell(*TRAFFIC)
        return report_page(self.chronicler.chronicle(), self.drawer.graphs(), [report] if report else [], error)


def _of(unit: str | None, step: Step) -> Event:
    return step if unit is None else InUnit(unit, step)


def moved() -> str:
    """Returns the page of a move that went well."""
    story = Story()
    story.begin(Phase.PAUSING)
    story.tell(Waiting(("Cluster ns/a: its pause is not confirmed", "Cluster ns/b: its pause is not confirmed")))
    story.now_s += 1
    story.tell(Waiting(()), PhaseEnded(Phase.PAUSING, 1), Noted("Mind the gap"))
    story.go_through(PHASES[1:])
    return story.page(report_of())


def report_of() -> MoveReport:
    """Returns the report of a move that went well."""
    return MoveReport(
        source="here",
        target="there",
        namespace="ns",
        moved=(KindCount(kind="Cluster.cluster.x-k8s.io", count=3), KindCount(kind="Secret", count=1)),
        kept=(KindCount(kind="Secret", count=2),),
        paused_s=5.0,
        verified=6,
    )


def rolled_back() -> str:
    """Returns the page of a move whose copies differed."""
    story = Story()
    story.go_through(PHASES[:2])
    story.begin(Phase.VERIFYING)
    unequal = unequal_error()
    story.now_s += 1
    story.tell(Noted(f"The move failed and is rolled back: {unequal}"))
    story.go_through([Phase.ROLLING_BACK])
    error = RolledBackError(unequal)
    error.__cause__ = unequal
    return story.page(error=error)


def unequal_error() -> VerificationError:
    """Returns the error of copies that differ in two fields."""
    return VerificationError(
        [
            Difference("Machine ns/a-1", "spec.providerID", f'"{HIDDEN}"', f'"other-{HIDDEN}"'),
            Difference("Secret ns/a-ca", "", "there", ""),
        ]
    )


def rolled(fate_of: Callable[[str], UnitFate] = lambda _: UnitFate.MOVED) -> str:
    """Returns the page of a rolling move; units that were not begun are told of in its report only."""
    story = Story(rolling=True)
    story.tell(RollingStarted(len(story.units)))
    reports = []
    for unit in story.units:
        fate = fate_of(unit)
        if fate is not UnitFate.NOT_BEGUN:
            began_s = story.now_s
            story.tell(UnitStarted(unit, 3))
            story.go_through(PHASES if fate is UnitFate.MOVED else (*PHASES[:3], Phase.ROLLING_BACK), unit)
            story.tell(UnitEnded(unit, fate, story.now_s - began_s))
        error = str(RolledBackError(unequal_error())) if fate is UnitFate.ROLLED_BACK else ""
        reports.append(
            UnitReport(namespace="ns", clusters=clusters_of(unit), fate=fate, objects=3, paused_s=5.0, error=error)
        )
    return story.page(RollingReport(source="here", target="there", namespace="ns", units=tuple(reports)))
