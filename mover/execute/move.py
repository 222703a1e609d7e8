"""A whole move from cluster to cluster: the phases in their order, and what each hands to the next."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from graph.resource import Object
from mover.discovery import deletion_webhooks, discover
from mover.errors import StoppedError, VerificationError
from mover.events import Listener, ObjectDone, PhaseEnded, PhaseStarted
from mover.execute.copying import Copier, ensure_namespaces
from mover.execute.deleting import Remover
from mover.execute.pausing import Pauser
from mover.execute.resuming import resume
from mover.kube import Cluster
from mover.models import MoveOptions, Phase
from mover.pause import Pause
from mover.plan import Plan, make_plan
from mover.preflight import Findings
from mover.verify import compare_copies, source_drift

_SETTLING_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished move did.

    Attributes:
        plan: The plan that was carried out, made from the snapshot of the paused source.
        created: How many copies the move made, each read back and found equal.
        seconds: Duration of each phase, in seconds.
        paused_s: From the first pause on the source to the last resume on the target, in seconds.
    """

    plan: Plan
    created: int
    seconds: Mapping[Phase, float]
    paused_s: float


@dataclass(slots=True)
class _Clock:
    """Tells the listener when phases begin and end, and keeps how long each took."""

    listener: Listener
    seconds: dict[Phase, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, phase: Phase, total: int = 0) -> Iterator[None]:
        self.listener(PhaseStarted(phase, total))
        started = time.monotonic()
        yield
        self.seconds[phase] = time.monotonic() - started
        self.listener(PhaseEnded(phase, self.seconds[phase]))

    def counter(self, phase: Phase, verb: str) -> _Counter:
        return _Counter(self.listener, phase, verb)


@dataclass(frozen=True, slots=True)
class _Counter:
    """Tells the listener of each object that is done."""

    listener: Listener
    phase: Phase
    verb: str

    def __call__(self, obj: Object) -> None:
        self.listener(ObjectDone(self.phase, str(obj.key), self.verb))


async def carry_out(
    source: Cluster,
    target: Cluster,
    findings: Findings,
    options: MoveOptions,
    listener: Listener,
) -> Outcome:
    """Moves what the preflight has accepted.

    Args:
        source: Where the objects are.
        target: Where they go.
        findings: What the preflight found; its plan is made anew from the paused source.
        options: What was asked for.
        listener: Told of every step.

    Raises:
        StoppedError: The move cannot go on.
        VerificationError: The copies differ; nothing was deleted.
        ApiError: A cluster refused a request.
    """
    clock = _Clock(listener)
    guarded = await deletion_webhooks(source)
    started = time.monotonic()
    plan = findings.plan
    with clock.phase(Phase.PAUSING, len(plan.selection.moved)):
        pauses = await Pauser(source, plan, options, listener).pause()
        plan = await _plan_again(source, plan)
    with clock.phase(Phase.CREATING, len(plan.creation.sequence)):
        await ensure_namespaces(source, target, plan)
        copier = Copier(target, plan, options, findings.used, findings.overwritten)
        await copier.copy_all(clock.counter(Phase.CREATING, "created"))
    with clock.phase(Phase.VERIFYING, len(copier.created)):
        plan = await _settle(source, target, plan, copier, options)
    with clock.phase(Phase.DELETING, len(plan.deletion.sequence)):
        remover = Remover(source, plan, copier, guarded)
        await remover.remove_all(clock.counter(Phase.DELETING, "deleted"))
    pauses_on_target: tuple[Pause, ...] = (*pauses, *copier.pauses)
    with clock.phase(Phase.RESUMING, len(pauses_on_target)):
        await resume(target, pauses_on_target, listener)
    return Outcome(plan, len(copier.created), clock.seconds, time.monotonic() - started)


async def _plan_again(source: Cluster, plan: Plan) -> Plan:
    """Returns the same plan made from what is on the source now."""
    scope = plan.selection.scope
    return make_plan(await discover(source, scope.namespace), scope.left_behind)


async def _settle(source: Cluster, target: Cluster, plan: Plan, copier: Copier, options: MoveOptions) -> Plan:
    """Returns the plan with the newest state of every object, all copies being equal to it.

    What changed on the source since the snapshot is copied again until nothing has changed while it was verified.
    """
    for _ in range(_SETTLING_ROUNDS):
        found = await compare_copies(target, plan, copier.created, options.restore_status)
        if found:
            raise VerificationError(found)
        drift = await source_drift(source, plan)
        if not drift.changed and not drift.appeared and not drift.vanished:
            return plan
        if drift.appeared or drift.vanished:
            names = ", ".join(str(obj.key) for obj in (*drift.appeared, *drift.vanished))
            raise StoppedError(
                f"Objects appeared or vanished on the {source.name} cluster while it was paused: {names}",
                "Find out who creates or deletes them, then move again",
            )
        plan = await _plan_again(source, plan)
        copier.follow(plan)
        for obj in drift.changed:
            await copier.renew(plan.object(obj.uid))
    raise StoppedError(
        f"Objects on the {source.name} cluster kept changing although they are paused",
        "Find out which controller ignores the pause, stop it, then move again",
    )
