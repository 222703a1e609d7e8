"""Starting, resuming and undoing a move: who may do what in which phase, and what becomes of a failure."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from graph import rules
from graph.resource import ObjectKey
from graph.unit import Unit
from mover.checks import Findings
from mover.choices import OnFailure
from mover.concurrency import all_of
from mover.discovery import NAMESPACES, Inventory, discover
from mover.errors import (
    ApiError,
    ForbiddenError,
    MoverError,
    StoppedError,
    SupersededError,
    TransientError,
    UnauthorizedError,
    UsageError,
    VerificationError,
)
from mover.events import Listener, Noted, Planned
from mover.execute.forward import Forward, Outcome
from mover.execute.given_up import GivenUpError, require_no_note
from mover.execute.journal import Found, Journal, find, under_way
from mover.execute.lease import Claim, Lease, LeaseLostError, held, holding, this_holder
from mover.execute.rollback import roll_back
from mover.execute.trust import require_trustworthy
from mover.kube import Cluster
from mover.models import MoveOptions, Phase
from mover.names import shown
from mover.planning import Mutator, Plan, Rules, make_plan
from mover.record import Identity, Record
from mover.scope import described

log = logging.getLogger("capi-mover.execute")
_PATIENCE_S = 15.0
"""How long a target is asked for its record before a move is undone: the source stands still meanwhile."""


_OUT_OF_REACH = (TransientError, UnauthorizedError, ForbiddenError)
"""With what a target answers that cannot be worked with now: a rollback resumes the source all the same."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """The two clusters of a move."""

    source: Cluster
    target: Cluster

    def planned(self, plan: Plan, units: tuple[Unit, ...] = ()) -> Planned:
        """Returns the event that tells what is to be moved between them."""
        contexts = self.source.context, self.target.context
        return Planned(plan.scope, *contexts, plan.selection, plan.creation, plan.deletion, units)


@dataclass(frozen=True, slots=True)
class Claims:
    """The leases of a move on both clusters."""

    source: Claim
    target: Claim

    @property
    def are_anothers(self) -> bool:
        """Returns whether somebody else may have taken the move over.

        As long as the source's lease is ours nobody has: a target that is only out of reach changes nothing.
        """
        return self.source.lost is not None or self.target.is_anothers

    async def confirm(self) -> bool:
        """Makes sure that nobody else has taken the move over; returns whether the target can be reached.

        The leases are renewed even if they are fresh by our own clock, which may have stood still with us.

        Raises:
            SupersededError: Somebody has.
            LeaseLostError: The lease of the source could not be renewed.
            TransientError: The source cannot be reached.
        """
        await self.source.confirm()
        try:
            await self.target.confirm()
        except (LeaseLostError, TransientError):
            return False
        return True


class RolledBackError(StoppedError):
    """The move failed before anything was deleted, and was undone.

    `cause` is what it failed with.
    """

    def __init__(self, cause: BaseException) -> None:
        super().__init__(
            f"{_describe(cause)}\nThe move was rolled back: the source is as it was, the copies are gone",
            "Mend the cause, then move again",
        )
        self.cause = cause
        if isinstance(cause, VerificationError):
            self.exit_code = cause.exit_code


class InterruptedMoveError(StoppedError):
    """The move stopped on its way; it can be gone on with from its record."""


async def start(clusters: Clusters, findings: Findings, options: MoveOptions, listener: Listener) -> Outcome:
    """Carries out what the preflight has accepted.

    Raises:
        LeaseHeldError: Another mover works on the same objects.
        RolledBackError: It failed and was undone.
        InterruptedMoveError: It failed and can be resumed.
        SupersededError: This program stood still, and another one has taken the move over.
    """
    scope = findings.plan.scope
    async with claimed(clusters, scope, listener) as claims:
        found = await find(clusters.source, clusters.target, scope)
        if found.newest is not None and not found.newest.is_note:
            raise StoppedError(
                f"A move of the same objects was begun meanwhile ({found.newest.id})", "See: capi-mover status"
            )
        await require_alone(clusters, scope)
        beginning = begin(clusters, claims, findings, options, listener)
        # The preflight's plan is not held beside that of the paused source: one of a fleet takes a hundred megabytes.
        del findings
        return await beginning


async def begin(
    clusters: Clusters, claims: Claims, findings: Findings, options: MoveOptions, listener: Listener
) -> Outcome:
    """Carries out what the preflight has accepted, under claims that keep everybody else away; see `start`."""
    journal = Journal(await _new_record(clusters, findings, options), (clusters.source, clusters.target))
    await _begin(journal)
    running = _run(clusters, claims, journal, findings.plan, listener)
    del findings
    return await running


async def require_alone(clusters: Clusters, scope: str) -> None:
    """Nobody has left a move that overlaps with this one; asked once the leases are held, so that nobody can begin one.

    Raises:
        StoppedError: There is such a move, or the source was given up.
    """
    await require_no_note(clusters.source, clusters.target, scope)
    for cluster in (clusters.source, clusters.target):
        others = await under_way(cluster, [scope])
        if others:
            other = others[0]
            raise StoppedError(
                f"The move {other.id} of {described(other.scope)} is under way on the {cluster.name} cluster "
                f"(phase {other.phase})",
                "Finish it with: capi-mover resume, or undo it with: capi-mover rollback",
            )


async def _begin(journal: Journal) -> None:
    """Writes the first record; if that fails on one side nothing has begun, and it is taken off the other one."""
    try:
        await journal.write(journal.record)
    except (ApiError, SupersededError):
        # Exactly what was written: another move's record stays.
        with suppress(ApiError, StoppedError):
            await journal.remove()
        raise


async def go_on(clusters: Clusters, record: Record, mutators: Sequence[Mutator], listener: Listener) -> Outcome:
    """Finishes an interrupted move from the phase its record says.

    Raises:
        StoppedError: The record is of a move between other clusters, or a rollback of it has begun.
        SupersededError: Somebody else has ended the move meanwhile, or has taken it over.
        RecordError: It says what no move of its scope says.
    """
    await require_same_clusters(clusters, record)
    async with claimed(clusters, record.scope, listener) as claims:
        journal, found = await Journal.opened(record, clusters.source, clusters.target)
        _require_source_kept(found)
        record = journal.record
        if found.target is not None and found.target.is_committed and not record.is_committed:
            raise StoppedError(
                f"The records of the move {record.id} contradict each other: the target's says "
                f"{found.target.phase}, and the source's, which is written first, {record.phase}",
                "Find out who has written the source's record, or put an older one back; nothing was changed",
            )
        if record.is_rolling_back:
            raise StoppedError(f"A rollback of the move {record.id} has begun", "Finish it with: capi-mover rollback")
        plan = await _plan_of(clusters.source, record, mutators)
        await require_trustworthy(clusters.source, clusters.target, record, plan)
        await journal.advance(record.phase, holder=this_holder())
        listener(clusters.planned(plan))
        return await _run(clusters, claims, journal, plan, listener)


async def undo(clusters: Clusters, record: Record, mutators: Sequence[Mutator], listener: Listener) -> None:
    """Takes an interrupted move back.

    Raises:
        StoppedError: It is past its commit point: originals may be gone already, and only forward is safe. With the
            source resumed, its controllers would build anew what they miss.
    """
    both = (clusters.source, clusters.target)
    async with AsyncExitStack() as claims:
        await claims.enter_async_context(held(clusters.source, record.scope, listener, both))
        try:
            # The source is to be resumed even if the target is dead for good.
            await require_same_clusters(clusters, record)
            claim = await claims.enter_async_context(held(clusters.target, record.scope, listener, both))
            claims.enter_context(claim.lapsing())
            target: Cluster | None = clusters.target
        except _OUT_OF_REACH as error:
            target = None
            listener(Noted(f"The target cannot be reached: {error}"))
        journal, found = await Journal.opened(record, *both)
        _require_source_kept(found)
        _require_undoable(journal.record, found)
        plan = await _plan_of(clusters.source, journal.record, mutators)
        await require_trustworthy(clusters.source, target, journal.record, plan)
        await roll_back(clusters.source, clusters.target, journal, plan, listener)


def _require_source_kept(found: Found) -> None:
    """Nobody may have given the source up meanwhile."""
    if found.target is not None and found.target.source_gone:
        raise GivenUpError(found.target)


def _require_undoable(record: Record, found: Found) -> None:
    """Nothing may have been deleted from the source yet, as either record says.

    A rollback that has begun is finished whatever the target's record says: it began on the source, before the commit.
    """
    if found.source is None and not (record.is_rolling_back or record.is_committed):
        raise SupersededError(
            f"The move {record.id} was ended by somebody else: the source has no record of it any more"
        )
    says = [side.phase for side in (record, found.target) if side is not None and side.is_committed]
    if says and not record.is_rolling_back:
        raise StoppedError(
            f"The move {record.id} is in the phase {says[0]}: originals may be gone from the source already, "
            "so it can only be completed",
            "Go on with: capi-mover resume",
        )


async def _run(clusters: Clusters, claims: Claims, journal: Journal, plan: Plan, listener: Listener) -> Outcome:
    timeout_s = journal.record.options.timeout_s
    forward = Forward(clusters.source, clusters.target, journal, plan, listener)
    del plan
    try:
        async with asyncio.timeout(timeout_s or None):
            return await forward.run()
    except SupersededError:
        raise
    except asyncio.CancelledError as error:
        if claims.are_anothers:
            raise
        _accept_cancellation()
        await _give_up(clusters, claims, journal, forward, listener, claims.target.lost or error)
    except (MoverError, TimeoutError) as error:
        await _give_up(clusters, claims, journal, forward, listener, error)
    except Exception as error:
        log.exception("The move met an error that capi-mover does not know; a mutator may have raised it")
        await _give_up(clusters, claims, journal, forward, listener, error)
    raise AssertionError("unreachable: giving up raises")


def _left_as(phase: Phase) -> str:
    """Returns how a move is left that stopped in a phase before its commit point."""
    if phase in (Phase.CLAIMED, Phase.COPYING_AHEAD):
        return "nothing was deleted, and nothing is paused"
    return "nothing was deleted, the source is paused"


def _accept_cancellation() -> None:
    """Lets what has to be done after a Ctrl-C run to its end; another one ends the program at once."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


async def _give_up(
    clusters: Clusters, claims: Claims, journal: Journal, forward: Forward, listener: Listener, error: BaseException
) -> None:
    """Undoes the move if that is safe and wanted, and raises what the caller has to know.

    What it failed with may be the work of another program that has taken the move over while this one stood still: what
    the leases and the records say now decides, not what is remembered.
    """
    try:
        is_answering = await claims.confirm()
        await journal.require_own(_PATIENCE_S if is_answering else 0.0)
    except ApiError as unknown:
        log.info("Whether the move is still ours cannot be seen: %s", unknown)
    record = journal.record
    why = _describe(error)
    where = f"The move {record.id} stopped in the phase {record.phase}"
    if record.is_committed:
        raise InterruptedMoveError(
            f"{why}\n{where}. Nothing is lost, but it can only be completed",
            "Go on with: capi-mover resume",
        ) from error
    if record.options.on_failure is OnFailure.KEEP:
        raise InterruptedMoveError(
            f"{why}\n{where}; {_left_as(record.phase)}",
            "Go on with: capi-mover resume, or undo it with: capi-mover rollback",
        ) from error
    listener(Noted(f"The move failed and is rolled back: {why}"))
    try:
        with claims.target.lapsing():
            await roll_back(clusters.source, clusters.target, journal, forward.plan, listener, forward.made)
    except SupersededError:
        raise
    except MoverError as second:
        raise InterruptedMoveError(
            f"{why}\nThe move {record.id} could not be rolled back either: {second}", "Try again: capi-mover rollback"
        ) from error
    raise RolledBackError(error) from error


def _describe(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "Stopped by a signal"
    if isinstance(error, TimeoutError):
        return "The time limit (--timeout) is over"
    return str(error) if isinstance(error, MoverError) else f"{type(error).__name__}: {error}"


@asynccontextmanager
async def claimed(clusters: Clusters, scope: str, listener: Listener) -> AsyncIterator[Claims]:
    """Holds the leases of a move on both clusters while the body runs; both are asked before each write to either.

    Raises:
        LeaseHeldError: Another mover works on the same objects.
        LeaseLostError: A lease could not be kept.
        SupersededError: Somebody else has taken one over.
    """
    both = (clusters.source, clusters.target)
    leases = [Lease(cluster, scope, listener) for cluster in both]
    # Holders that are dead are waited for on both sides at once.
    await all_of(lease.outwait() for lease in leases)
    async with holding(leases[0], both) as source, holding(leases[1], both) as target:
        yield Claims(source, target)


async def _new_record(clusters: Clusters, findings: Findings, options: MoveOptions) -> Record:
    plan = findings.plan
    return Record(
        id=uuid.uuid4().hex[:8],
        phase=Phase.CLAIMED,
        scope=plan.scope,
        source=await identity_of(clusters.source),
        target=await identity_of(clusters.target),
        options=options,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        holder=this_holder(),
        objects=len(plan.selection.selected),
        used=findings.used,
        overwritten=findings.overwritten,
        left_behind=_parts(plan.rules.left_behind),
        included=_parts(plan.rules.included),
        shared=_parts(plan.rules.shared),
        hosts=tuple(sorted(key.name for key in plan.rules.hosts)),
    )


def _parts(keys: Iterable[ObjectKey]) -> tuple[tuple[str, str, str, str], ...]:
    return tuple((key.group, key.kind, key.namespace, key.name) for key in sorted(keys))


async def identity_of(cluster: Cluster) -> Identity:
    """Returns who a cluster is: the UID of its kube-system namespace, whatever its address."""
    return Identity(uid=(await cluster.get(NAMESPACES, "", "kube-system")).uid, context=shown(cluster.context))


async def require_same_clusters(clusters: Clusters, record: Record) -> None:
    """Raises UsageError if a record is of a move between other clusters."""
    for cluster, known in ((clusters.source, record.source), (clusters.target, record.target)):
        if (await identity_of(cluster)).uid != known.uid:
            raise UsageError(
                f"The move {record.id} has another {cluster.name} cluster (context {known.context})",
                "Give the kubeconfigs that it was started with",
            )


async def _plan_of(source: Cluster, record: Record, mutators: Sequence[Mutator]) -> Plan:
    """Returns the plan of a recorded move, made from what is on the source now."""
    if record.phase is Phase.RESUMING:
        # All originals are gone, and their namespace may be gone, too.
        return make_plan(Inventory(record.namespace, (), (), (), frozenset()), rules_of(record, mutators))
    inventory = await discover(source, record.namespace, strict_labels=record.options.strict_labels)
    return make_plan(inventory, rules_of(record, mutators))


def rules_of(record: Record, mutators: Sequence[Mutator]) -> Rules:
    """Returns the rules that the recorded move was begun by: Clusters and hosts by name, not by selector."""
    clusters = frozenset(ObjectKey(*rules.CLUSTER, record.namespace, name) for name in record.clusters)
    return Rules(
        left_behind=frozenset(ObjectKey(*parts) for parts in record.left_behind),
        exactly=frozenset(record.moving) if record.is_committed else None,
        mutators=tuple(mutators),
        clusters=clusters or None,
        hosts=frozenset(ObjectKey(*rules.BARE_METAL_HOST, record.namespace, name) for name in record.hosts),
        included=frozenset(ObjectKey(*parts) for parts in record.included),
        shared=frozenset(ObjectKey(*parts) for parts in record.shared),
    )
