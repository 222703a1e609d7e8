"""Writes that were made and whose answers were lost: each kind once, and each kind for good."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from graph.resource import Object
from mover.errors import ApiError
from mover.execute.run import InterruptedMoveError, RolledBackError
from mover.kube.transport import Request, RetryPolicy
from mover.models import Phase
from tests.faults import wire as wires
from tests.faults.conftest import excuse
from tests.faults.scene import Scene, at
from tests.faults.wire import FOR_EVER, Matcher, Wire, lose_answer, lose_every_answer

ORIGINALS = "delete-for-move"


@dataclass(frozen=True)
class Kind:
    """A kind of write.

    Attributes:
        name: For the test's id.
        matches: Its requests.
        verb: HTTP method, as the error must name it.
        cluster: The cluster that the error must name.
    """

    name: str
    matches: Matcher
    verb: str
    cluster: str


BEFORE_THE_COMMIT = (
    Kind("pause", wires.write("source", "PATCH", holds='"paused":true'), "PATCH", "source"),
    Kind("fence", wires.write("source", "PATCH", path="/baremetalhosts/"), "PATCH", "source"),
    Kind("namespace", wires.write("target", "POST", holds='"kind":"Namespace"'), "POST", "target"),
    Kind("create", wires.write("target", "POST", path="/machines"), "POST", "target"),
    Kind("status", wires.write("target", "PATCH", path="/status"), "PATCH", "target"),
    Kind("managers", wires.write("target", "PATCH", holds='"managedFields"'), "PATCH", "target"),
    Kind("record-of-pauses", wires.record("source", phase="pausing"), "PATCH", "source"),
    Kind("record-of-creating", wires.record("target", phase="creating"), "PATCH", "target"),
    Kind("commit-on-source", wires.record("source", phase="deleting"), "PATCH", "source"),
)
AFTER_THE_COMMIT = (
    Kind("strip", wires.write("source", "PATCH", holds=ORIGINALS), "PATCH", "source"),
    Kind("delete", wires.write("source", "DELETE"), "DELETE", "source"),
    Kind("record-of-deleting", wires.record("source", phase="resuming"), "PATCH", "source"),
    Kind("resume", wires.write("target", "PATCH", holds='"paused":null'), "PATCH", "target"),
    Kind("record-removal", wires.record("source", "DELETE"), "DELETE", "source"),
    Kind("record-removal-on-target", wires.record("target", "DELETE"), "DELETE", "target"),
)


def _name(kind: Kind) -> str:
    return kind.name


async def test_every_write_whose_answer_is_lost_once_is_made_all_the_same(
    scene: Scene, wire: Wire, impatient: RetryPolicy
) -> None:
    wire.add(wires.once_each(wires.is_write), lose_answer, times=FOR_EVER)
    report = await scene.move()
    assert report.retries == wire.injected > 3 * len(scene.fleet.movable)
    await scene.assert_moved()


async def test_a_first_try_that_reaches_no_server_is_made_again(
    scene: Scene, wire: Wire, impatient: RetryPolicy
) -> None:
    wire.add(wires.once_each(wires.every), wires.lose_request, times=FOR_EVER)
    await scene.move()
    await scene.assert_moved()


@pytest.mark.parametrize("kind", BEFORE_THE_COMMIT, ids=_name)
async def test_a_write_before_the_commit_that_is_never_answered_leads_back(
    scene: Scene, wire: Wire, impatient: RetryPolicy, kind: Kind
) -> None:
    wire.add(kind.matches, lose_every_answer, times=FOR_EVER)
    with pytest.raises(RolledBackError, match=f"{kind.cluster}: {kind.verb} /") as caught:
        await scene.move(at(Phase.ROLLING_BACK, wire.mend))
    assert isinstance(caught.value.cause, ApiError)
    assert impatient.attempts <= wire.injected <= impatient.attempts * len(scene.fleet.movable)
    await scene.assert_untouched()


@pytest.mark.parametrize("kind", AFTER_THE_COMMIT, ids=_name)
async def test_a_write_after_the_commit_that_is_never_answered_is_gone_on_with(
    scene: Scene, wire: Wire, impatient: RetryPolicy, kind: Kind
) -> None:
    wire.add(kind.matches, lose_every_answer, times=FOR_EVER)
    with pytest.raises(InterruptedMoveError, match=f"{kind.cluster}: {kind.verb} /") as caught:
        await scene.move()
    assert "capi-mover resume" in caught.value.remedy
    wire.mend()
    if await scene.records():
        await scene.resume()
    await scene.assert_moved()


async def test_the_error_of_a_create_without_an_answer_names_the_object(
    scene: Scene, wire: Wire, impatient: RetryPolicy
) -> None:
    name = scene.key("Machine").name
    machine = wires.write("target", "POST", holds=f'"name":"{name}"', path="/cluster.x-k8s.io/v1beta2/")
    wire.add(machine, wires.lose_request, times=FOR_EVER)
    with pytest.raises(RolledBackError, match=f"POST .*{name}"):
        await scene.move(at(Phase.ROLLING_BACK, wire.mend))
    await scene.assert_untouched()


async def test_a_commit_of_which_nobody_knows_whether_it_was_written_is_gone_on_with_or_undone_whole(
    scene: Scene, wire: Wire, impatient: RetryPolicy
) -> None:
    """The target has written the commit, and is down from then on."""
    excuse(scene.namespace)
    commit = wires.record("target", phase="deleting")
    down = []

    def is_down(cluster: str, request: Request) -> bool:
        if commit(cluster, request):
            down.append(request)
            return False
        return bool(down) and cluster == "target"

    wire.add(is_down, wires.lose_request, times=FOR_EVER)
    wire.add(commit, lose_answer, times=FOR_EVER)
    with pytest.raises(InterruptedMoveError):
        await scene.move()
    wire.mend()
    newest = await scene.records()
    source_is_live = not any(obj.body()["spec"].get("paused") for obj in await _clusters(scene))
    # Whoever goes on now must not delete originals that live.
    assert not (source_is_live and any(record.is_committed for record in newest))
    await scene.resume()
    await scene.assert_moved()


async def _clusters(scene: Scene) -> list[Object]:
    found = await scene.on_source()
    return [obj for key, obj in found.items() if key.kind == "Cluster"]


async def test_a_renewal_of_the_lease_whose_answer_is_lost_is_no_lost_lease(
    scene: Scene, wire: Wire, impatient: RetryPolicy
) -> None:
    wire.add(wires.lease("target", "PUT"), lose_answer)
    await scene.with_leases_of(3.0).move()
    assert wire.injected == 1
    await scene.assert_moved()


@pytest.mark.parametrize("phase", [Phase.VERIFYING, Phase.DELETING], ids=str)
async def test_a_renewed_copy_whose_answer_is_lost_is_renewed_all_the_same(
    scene: Scene, wire: Wire, impatient: RetryPolicy, phase: Phase
) -> None:
    key = scene.key("Machine")
    change = {"metadata": {"labels": {"changed": "late"}}}
    wire.add(wires.write("target", "PUT"), lose_answer)
    await scene.move(at(phase, lambda: scene.edit_source(lambda client: client.patch_merge(scene.path(key), change))))
    target = await scene.on_target()
    assert target[key].labels["changed"] == "late"
    await scene.assert_moved(but={key})
