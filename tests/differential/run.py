"""Runs a scenario on both pairs and judges what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from graph import rules
from graph.resource import ObjectKey, ResourceType
from mover.models import MoveOptions
from tests.differential import seeding, tools
from tests.differential.comparison import Difference, Side, State, compare, read_state
from tests.differential.departures import Departure, Evidence, allowed_by
from tests.differential.scenario import Scenario, Verdict
from tests.differential.tools import Job, Outcome
from tests.differential.world import Ends, Names
from tests.testbed import fleet
from tests.testbed.client import AdminClient
from tests.testbed.collector import wait_for_collector
from tests.testbed.fleet import FleetSpec
from tests.testbed.witness import watched_types

SECRET = ResourceType("", "v1", "Secret", "secrets")
CONFIG_MAP = ResourceType("", "v1", "ConfigMap", "configmaps")


@dataclass(frozen=True, slots=True)
class Cluster:
    """One control plane: its kubeconfig and an administrator's client."""

    kubeconfig: Path
    client: AdminClient


@dataclass(frozen=True, slots=True)
class Pair:
    """The source and the target of one tool."""

    source: Cluster
    target: Cluster


@dataclass(frozen=True, slots=True)
class Arena:
    """The four control planes.

    Attributes:
        oracle: clusterctl's pair.
        ours: capi-mover's pair.
        home: A folder for files, and the home of the tools' processes.
    """

    oracle: Pair
    ours: Pair
    home: Path

    @property
    def pairs(self) -> tuple[Pair, Pair]:
        """Returns both pairs, clusterctl's first."""
        return self.oracle, self.ours


@dataclass(frozen=True, slots=True)
class States:
    """What is on a pair at one time."""

    source: State
    target: State


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a scenario.

    Attributes:
        allowed: The differences that a departure allows, with it.
        complaints: Everything that must not be, in sentences; empty if all is well.
        oracle: How clusterctl ended.
        ours: How capi-mover ended.
    """

    allowed: tuple[tuple[Departure, Difference], ...] = ()
    complaints: tuple[str, ...] = ()
    oracle: Outcome = field(default_factory=lambda: Outcome(False))
    ours: Outcome = field(default_factory=lambda: Outcome(False))

    def text(self, scenario: Scenario) -> str:
        """Returns all that helps to understand a failure."""
        said = [f"--- clusterctl said\n{self.oracle.output}", f"--- capi-mover said\n{self.ours.output}"]
        return "\n".join((scenario.name, str(scenario.world), *self.complaints, *said))


async def run(arena: Arena, scenario: Scenario, prefix: str) -> Report:
    """Returns what came of a scenario; `prefix` names its namespaces, and no other run may use it."""
    names = Names(prefix)
    try:
        return await _run(arena, scenario, names)
    finally:
        clients = [cluster.client for pair in arena.pairs for cluster in (pair.source, pair.target)]
        await asyncio.gather(*(seeding.clear(client, scenario.world, names) for client in clients))


async def _run(arena: Arena, scenario: Scenario, names: Names) -> Report:
    await asyncio.gather(*(_seed(pair, scenario, names) for pair in arena.pairs))
    types = await _types(arena, scenario)
    before = await _read(arena, scenario, names, types)
    oracle, ours = await _move(arena, scenario, names)
    after = await _read(arena, scenario, names, types)
    evidence = _evidence(before[1], after[1], oracle, ours)
    seeded = [] if scenario.fleet else _all_differences(before)
    differences = [*_outcome(oracle, ours), *_all_differences(after, before)]
    judged = [(allowed_by(difference, evidence), difference) for difference in differences]
    complaints = (
        *(f"seeded differently: {difference}" for difference in seeded),
        *(str(difference) for departure, difference in judged if departure is None),
        *_verdict(scenario, oracle, ours, before, after),
        *_ends(scenario, names, after[0]),
    )
    allowed = tuple((departure, difference) for departure, difference in judged if departure is not None)
    return Report(allowed, complaints, oracle, ours)


def _evidence(before: States, after: States, oracle: Outcome, ours: Outcome) -> Evidence:
    return Evidence(
        before=before.source.normal(),
        target_before=before.target.normal(),
        owners=before.source.owners(),
        source_after=frozenset(after.source.objects),
        oracle=oracle,
        ours=ours,
    )


async def _seed(pair: Pair, scenario: Scenario, names: Names) -> None:
    await seeding.seed(pair.source.client, pair.target.client, scenario.world, names)
    if scenario.fleet is not None:
        prefix = names.prefix
        spec = FleetSpec(namespace=prefix, cluster_name=f"{prefix}-c", host_name=f"{prefix}-h", **scenario.fleet)
        await fleet.build(pair.source.client, spec)


async def _types(arena: Arena, scenario: Scenario) -> set[ResourceType]:
    types = {SECRET, CONFIG_MAP, *scenario.world.types}
    return types | set(await watched_types(arena.ours.source.client)) if scenario.fleet else types


async def _read(arena: Arena, scenario: Scenario, names: Names, types: set[ResourceType]) -> tuple[States, States]:
    """Returns what is on both pairs once their garbage collectors have nothing left to do."""
    clients = [cluster.client for pair in arena.pairs for cluster in (pair.source, pair.target)]
    await asyncio.gather(*map(wait_for_collector, clients))
    keys = {names.key(thing) for thing in (*scenario.world.source, *scenario.world.target)}
    states = await asyncio.gather(*(read_state(client, types, names.own, keys) for client in clients))
    return States(*states[:2]), States(*states[2:])


async def _move(arena: Arena, scenario: Scenario, names: Names) -> tuple[Outcome, Outcome]:
    jobs = [_job(arena, pair, scenario, names) for pair in arena.pairs]
    if scenario.flags or scenario.context_namespace:
        ours = tools.run_mover_program(jobs[1], arena.home)
    else:
        wanted = {"namespace": names.prefix, "quiet_s": 0, "skip": ("space",), **scenario.options}
        ours = tools.run_mover(jobs[1], MoveOptions(**wanted))
    oracle, other, _ = await asyncio.gather(
        tools.run_clusterctl(jobs[0], arena.home), ours, _meanwhile(arena, scenario, names)
    )
    return oracle, other


def _job(arena: Arena, pair: Pair, scenario: Scenario, names: Names) -> Job:
    if not scenario.context_namespace:
        return Job(pair.source.kubeconfig, pair.target.kubeconfig, ("--namespace", names.prefix, *scenario.flags))
    source = tools.with_namespace(pair.source.kubeconfig, names.prefix, arena.home)
    return Job(source, pair.target.kubeconfig, scenario.flags)


async def _meanwhile(arena: Arena, scenario: Scenario, names: Names) -> None:
    if scenario.unblock_after_s:
        await asyncio.sleep(scenario.unblock_after_s)  # the scenario: a provider that takes its time
        for pair in arena.pairs:
            await seeding.unblock(pair.source.client, scenario.world, names, rules.BLOCK_MOVE_ANNOTATION)


def _outcome(oracle: Outcome, ours: Outcome) -> list[Difference]:
    if oracle.succeeded == ours.succeeded:
        return []
    return [Difference(Side.OUTCOME, None, (), oracle.succeeded, ours.succeeded)]


def _all_differences(states: tuple[States, States], before: tuple[States, States] | None = None) -> list[Difference]:
    one, other = states
    origins = [pair.source.uids() for pair in before or states]
    targets = [pair.target.normal(uids) for pair, uids in zip(states, origins, strict=True)]
    sources = compare(Side.SOURCE, one.source.normal(), other.source.normal())
    return [*sources, *compare(Side.TARGET, targets[0], targets[1])]


def _verdict(
    scenario: Scenario,
    oracle: Outcome,
    ours: Outcome,
    before: tuple[States, States],
    after: tuple[States, States],
) -> list[str]:
    if scenario.verdict is Verdict.ANY:
        return _unchanged(ours, before[1], after[1])
    moved = scenario.verdict is Verdict.MOVED
    expected = {"clusterctl": scenario.verdict is not Verdict.REFUSED, "capi-mover": moved}
    found = {"clusterctl": oracle.succeeded, "capi-mover": ours.succeeded}
    complaints = [f"{tool} {_done(found[tool])}" for tool in expected if expected[tool] != found[tool]]
    if not moved and not ours.succeeded and scenario.check not in ours.checks:
        complaints.append(f"capi-mover did not refuse because of {scenario.check}")
    if scenario.oracle_says not in oracle.output:
        complaints.append(f"clusterctl did not say: {scenario.oracle_says}")
    return complaints + _unchanged(ours, before[1], after[1])


def _unchanged(ours: Outcome, before: States, after: States) -> list[str]:
    if ours.succeeded or _versions(before) == _versions(after):
        return []
    return ["capi-mover did not move, but something has changed"]


def _done(succeeded: bool) -> str:
    return "should not have gone on" if succeeded else "should have succeeded"


def _versions(states: States) -> Sequence[Mapping[ObjectKey, tuple[str, str]]]:
    return [states.source.versions, states.target.versions]


def _ends(scenario: Scenario, names: Names, after: States) -> list[str]:
    """Returns where clusterctl left things elsewhere than the scenario says."""
    complaints: list[str] = []
    if scenario.verdict in (Verdict.REFUSED, Verdict.ANY):
        return complaints
    for thing in scenario.world.source:
        key = names.key(thing)
        found = _END[key in after.source.objects, key in after.target.objects]
        if found is not thing.ends:
            complaints.append(f"{key}: clusterctl has {found} it, the scenario says {thing.ends}")
    return complaints


_END: Mapping[tuple[bool, bool], Ends] = {
    (False, True): Ends.MOVED,
    (True, True): Ends.KEPT,
    (True, False): Ends.LEFT,
    (False, False): Ends.COLLECTED,
}
