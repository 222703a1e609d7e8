"""What a move has recorded is gone on with wherever it was killed: what was accepted before is not refused later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from graph import rules
from mover.api.moving import Asked, findings_of
from mover.checks import check_move
from mover.discovery import SECRETS, discover
from mover.errors import StoppedError
from mover.execute.journal import find
from mover.execute.run import go_on, start
from mover.models import Phase
from mover.planning import Mutator, Rules, make_plan
from mover.record import encode
from tests.unit.fake_apiserver import Fuse, Killed
from tests.unit.graph_builders import NAMESPACE
from tests.unit.mover_builders import CLUSTER, PROVISIONED, Stage, make, refuse, write_record
from tests.unit.scripted_server import failure

FORMER = {"finalizers": ["bmo"], "labels": {rules.CLUSTER_NAME_LABEL: "former"}}
SPARE = make(
    rules.BARE_METAL_HOST,
    "spare",
    metadata=FORMER,
    spec={"online": True},
    status={"provisioning": {"state": "available"}, "poweredOn": True},
)
OTHER = make(rules.CLUSTER, "other", metadata={"finalizers": ["capi"]}, spec={"n": 1}, status=PROVISIONED)


async def goes_on_from(writes: int, stage: Stage, findings: Any, mutators: Sequence[Mutator] = ()) -> bool:
    """Returns whether a move was killed at that write; then it was gone on with to its end."""
    try:
        await start(stage.clusters(Fuse(writes)), findings, stage.options, stage.events.append)
    except Killed:
        stage.drop_leases()
    else:
        return False
    clusters = stage.clusters()
    record = (await find(clusters.source, clusters.target, findings.plan.scope)).newest
    if record is not None:
        await go_on(clusters, record, mutators, stage.events.append)
    return True


async def test_an_object_with_a_name_of_more_than_63_characters_moves() -> None:
    name = "c-" + "a" * 200
    stage = Stage(make(SECRETS, name, owners=(CLUSTER,), data={"a": "eA=="}))
    await stage.move()
    assert [path for path in stage.target.bodies if path.endswith(name)]


async def test_a_spare_host_that_was_of_another_cluster_comes_along_wherever_the_move_is_killed() -> None:
    writes = 0
    while True:
        stage = Stage(SPARE, OTHER, clusters=("c",), all_hosts=True)
        found = await findings_of(stage.clusters(), Asked(NAMESPACE, stage.options, None), (), stage.events.append)
        assert not found.problems
        if not await goes_on_from(writes, stage, found):
            break
        writes += 1
    assert writes > 40


def elsewhere(body: dict[str, Any]) -> dict[str, Any]:
    if body["metadata"].get("namespace"):
        body["metadata"]["namespace"] = "elsewhere"
    return body


async def test_a_mutator_that_changes_the_namespace_is_followed_wherever_the_move_is_killed() -> None:
    writes = 0
    while True:
        stage = Stage()
        clusters = stage.clusters()
        plan = make_plan(await discover(clusters.source, NAMESPACE), Rules(mutators=(elsewhere,)))
        found = await check_move(clusters.source, clusters.target, plan, stage.options)
        if not await goes_on_from(writes, stage, found, (elsewhere,)):
            break
        writes += 1
    assert writes > 40


async def test_records_of_which_the_target_s_is_further_are_not_followed() -> None:
    stage = Stage()
    findings = await stage.findings()
    refuse(stage.source, "DELETE", "/machines/m")
    with pytest.raises(StoppedError):
        await stage.move(findings=findings)
    record = await stage.record()
    assert record is not None
    assert record.phase is Phase.DELETING
    older = record.model_copy(update={"phase": Phase.VERIFYING, "moving": ()})
    write_record(stage.source, encode(older))
    stage.source.before = lambda _: None
    stage.drop_leases()
    with pytest.raises(StoppedError, match="the target's says deleting, and the source's"):
        await stage.go_on()


@pytest.mark.parametrize(("status", "reason"), [(401, "Unauthorized"), (403, "Forbidden"), (503, "")])
async def test_a_rollback_resumes_the_source_whatever_the_target_refuses(status: int, reason: str) -> None:
    stage = Stage()
    findings = await stage.findings()
    with pytest.raises(Killed):
        await stage.move(Fuse(20), findings=findings)
    stage.drop_leases()
    stage.target.before = lambda _: failure(status, reason)
    with pytest.raises(StoppedError, match="The source is as it was, but the copies could not be taken off"):
        await stage.undo_recorded_on_the_source()
    assert not stage.source.now(CLUSTER).body()["spec"].get("paused")
