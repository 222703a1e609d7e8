"""Moves with Metal3's controllers running on both sides: nothing may happen to a machine.

The controllers are doubles (`tests.testbed.doubles`). That they would notice harm is shown by the real clusterctl.
METAL3_MOVES is how often the fleet is moved there and back.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from graph import rules
from graph.resource import Object, ObjectKey
from mover.api import move_async, resume_async
from mover.choices import RestoreStatus
from mover.errors import StoppedError
from mover.events import Event, PhaseStarted
from mover.execute.run import InterruptedMoveError, RolledBackError
from mover.models import MANAGER, MoveOptions, Phase
from tests.differential.tools import Job, run_clusterctl
from tests.testbed import inspect
from tests.testbed.client import AdminClient, AdminError
from tests.testbed.doubles import Action, Controllers
from tests.testbed.doubles.bmo import DETACHED_ANNOTATION
from tests.testbed.doubles.capm3 import WAITING
from tests.testbed.fleet import Fleet, FleetSpec, build
from tests.testbed.fleet.content import IMAGE_URL, image
from tests.testbed.pair import Pair
from tests.testbed.pause_reporter import PauseReporter
from tests.testbed.witness import events

MOVES = int(os.environ.get("METAL3_MOVES") or 2)
IMAGE = image()

CLAIMED_AND_PAUSED = 2
SPARE = (4, 5)
WITH_IMAGE = 6
DETACHED = 7
EXTERNAL = 8
IN_ERROR = 9
"""Which host of the fleet is which: hosts 1 to 3 are claimed, 4 to 9 are spare ones."""

USER = "maintenance"
"""The value of the user's pause."""

METAL3_GROUPS = {rules.METAL3_GROUP, rules.METAL3_IPAM_GROUP}
Objects = Mapping[ObjectKey, Object]


def _hosts(namespace: str) -> str:
    return f"/apis/metal3.io/v1alpha1/namespaces/{namespace}/baremetalhosts"


def _name(namespace: str, number: int) -> str:
    return f"{namespace}-h-{number:04d}"


async def _fleet(client: AdminClient, namespace: str) -> Fleet:
    """Returns a fleet with one host of each sort."""
    spec = FleetSpec(
        namespace=namespace,
        cluster_name=f"{namespace}-c",
        host_name=f"{namespace}-h",
        control_planes=1,
        workers=2,
        spare_hosts=6,
    )
    fleet = await build(client, spec)
    provisioned = {"poweredOn": True, "provisioning": {"state": "provisioned", "image": IMAGE}}
    own_image = {"spec": {"online": True, "image": IMAGE}}
    external = {**provisioned, "provisioning": {"state": "externally provisioned"}}
    failed = {"operationalStatus": "error", "errorType": "provisioned registration error", "errorMessage": "no answer"}

    async def change(number: int, patch: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        path = f"{_hosts(namespace)}/{_name(namespace, number)}"
        await client.patch_merge(path, patch)
        await client.patch_status(path, status)

    await asyncio.gather(
        change(CLAIMED_AND_PAUSED, {"metadata": {"annotations": {rules.HOST_PAUSED_ANNOTATION: USER}}}, {}),
        change(WITH_IMAGE, own_image, provisioned),
        change(
            DETACHED,
            {**own_image, "metadata": {"annotations": {DETACHED_ANNOTATION: ""}}},
            {**provisioned, "operationalStatus": "detached"},
        ),
        change(EXTERNAL, {"spec": {"online": True, "externallyProvisioned": True}}, external),
        change(IN_ERROR, own_image, {**provisioned, **failed}),
    )
    return fleet


@asynccontextmanager
async def _controllers(pair: Pair, namespace: str, **options: Any) -> AsyncIterator[Controllers]:
    """Runs the doubles and a reporter of pauses on both clusters."""
    async with AsyncExitStack() as stack:
        planes = (pair.source, pair.target)
        clients = [await stack.enter_async_context(AdminClient(plane.kubeconfig, connections=128)) for plane in planes]
        for client in clients:
            await stack.enter_async_context(PauseReporter(client))
        controllers = Controllers(*clients, namespaces={namespace}, **options)
        yield await stack.enter_async_context(controllers)


async def _settled_objects(controllers: Controllers, client: AdminClient, namespace: str) -> Objects:
    await controllers.settled()
    return await inspect.objects(client, namespace)


def _comparable(obj: Object) -> dict[str, Any]:
    """Returns all of an object that a move there and back must not change.

    What may differ: the condition Paused, which says that it was moved; observedGeneration, as a pause and its end
    are new generations; and a host's saved status, which its operator has not read yet if the user has paused it.
    """
    body = obj.body()
    metadata = body["metadata"]
    annotations = dict(metadata.get("annotations") or {})
    annotations.pop(rules.HOST_STATUS_ANNOTATION, None)
    kept = {name: metadata.get(name) or {} for name in ("labels", "finalizers")}
    content = {name: value for name, value in body.items() if name not in ("metadata", "status")}
    return {**kept, **content, "annotations": annotations, "status": _lasting(body.get("status"))}


def _lasting(status: Any) -> Any:
    if isinstance(status, list):
        return [_lasting(entry) for entry in status if not (isinstance(entry, dict) and entry.get("type") == "Paused")]
    if not isinstance(status, dict):
        return status
    return {name: _lasting(value) for name, value in status.items() if name != "observedGeneration"}


def _assert_same(fleet: Fleet, before: Objects, after: Objects) -> None:
    assert set(fleet.movable) <= set(after)
    assert not {key for key in after if key.group in METAL3_GROUPS} - set(before)
    for key in fleet.movable:
        assert _comparable(after[key]) == _comparable(before[key]), str(key)
    assert WAITING not in "".join(obj.raw.decode() for obj in after.values())


def _pauses(objects: Objects) -> dict[str, str]:
    """Returns the value of each pause annotation that is there, by object."""
    names = (rules.HOST_PAUSED_ANNOTATION, rules.PAUSED_ANNOTATION)
    found = ((obj, obj.annotations.get(name)) for obj in objects.values() for name in names)
    return {obj.key.name: value for obj, value in found if value is not None}


async def test_nothing_happens_to_a_machine_however_often_its_cluster_is_moved(pair: Pair, namespace: str) -> None:
    fleet = await _fleet(pair.on_source, namespace)
    sides = [(pair.source_ref, pair.on_source), (pair.target_ref, pair.on_target)]
    async with _controllers(pair, namespace, uses_block_move=True) as controllers:
        before = await _settled_objects(controllers, pair.on_source, namespace)
        assert controllers.journal.harm() == ()
        for number in range(1, MOVES + 1):
            (origin, _), (goal, there) = sides
            options = MoveOptions(namespace=namespace, copy_ahead=number % 2 == 0)  # each way in turn
            await move_async(origin, goal, options)
            after = await _settled_objects(controllers, there, namespace)
            assert controllers.journal.harm() == (), f"move {number}"
            _assert_same(fleet, before, after)
            assert _pauses(after) == {_name(namespace, CLAIMED_AND_PAUSED): USER}
            sides.reverse()
        _, there = sides[0]
        await _take_pause_off(there, namespace)
        await controllers.settled()
        assert controllers.journal.harm() == ()
    adopted = {entry.subject for entry in controllers.journal.entries if entry.action is Action.ADOPT}
    assert f"{namespace}/{_name(namespace, WITH_IMAGE)}" in adopted


async def _take_pause_off(client: AdminClient, namespace: str) -> None:
    path = f"{_hosts(namespace)}/{_name(namespace, CLAIMED_AND_PAUSED)}"
    await client.patch_merge(path, {"metadata": {"annotations": {rules.HOST_PAUSED_ANNOTATION: None}}})


class Disturber:
    """Strips the pauses of a move off the hosts of a namespace, from the beginning of a phase on."""

    def __init__(self, client: AdminClient, namespace: str, phase: Phase) -> None:
        self.stripped = 0
        self._client = client
        self._path = _hosts(namespace)
        self._phase = phase
        self._begun = asyncio.Event()

    def listen(self, event: Event) -> None:
        """Hears what the move does."""
        if isinstance(event, PhaseStarted) and event.phase is self._phase:
            self._begun.set()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Disturbs until the end of the `async with`."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

    async def _run(self) -> None:
        await self._begun.wait()
        answer = await self._client.list(self._path)
        for host in answer["items"]:
            await self._strip(host)
        async with aclosing(events(self._client, self._path, answer["metadata"]["resourceVersion"])) as answers:
            async for event in answers:
                if event["type"] in ("ADDED", "MODIFIED"):
                    await self._strip(event["object"])

    async def _strip(self, host: Any) -> None:
        pause = (host["metadata"].get("annotations") or {}).get(rules.HOST_PAUSED_ANNOTATION)
        if pause not in (MANAGER, rules.CAPM3_HOST_PAUSED_VALUE):
            return
        patch = {"metadata": {"annotations": {rules.HOST_PAUSED_ANNOTATION: None}}}
        try:
            await self._client.patch_merge(f"{self._path}/{host['metadata']['name']}", patch)
        except AdminError as error:
            if error.status != 404:
                raise
        else:
            self.stripped += 1


async def _moved(pair: Pair, options: MoveOptions, disturber: Disturber) -> StoppedError | None:
    """Returns what a disturbed move stopped with, None if it came to its end."""
    try:
        await move_async(pair.source_ref, pair.target_ref, options, disturber.listen)
    except (RolledBackError, InterruptedMoveError) as error:
        return error
    return None


@pytest.mark.parametrize(
    ("phase", "restored"),
    [
        (Phase.PAUSING, RestoreStatus.ALL),
        (Phase.CREATING, RestoreStatus.ALL),
        (Phase.DELETING, RestoreStatus.ALL),
        (Phase.DELETING, RestoreStatus.NONE),
    ],
)
async def test_nothing_happens_to_a_machine_whose_pause_is_stripped_again_and_again(
    pair: Pair, namespace: str, phase: Phase, restored: RestoreStatus
) -> None:
    fleet = await _fleet(pair.on_source, namespace)
    disturber = Disturber(pair.on_source, namespace, phase)
    pause_timeout_s = 10 if phase is Phase.PAUSING else 120
    options = MoveOptions(namespace=namespace, pause_timeout_s=pause_timeout_s, restore_status=restored)
    async with _controllers(pair, namespace) as controllers:
        before = await _settled_objects(controllers, pair.on_source, namespace)
        async with disturber.at_work():
            error = await _moved(pair, options, disturber)
        there = pair.on_source if isinstance(error, RolledBackError) else pair.on_target
        if isinstance(error, InterruptedMoveError):
            await controllers.settled()
            await resume_async(pair.source_ref, pair.target_ref, namespace)
        after = await _settled_objects(controllers, there, namespace)
    print(f"stripped {disturber.stripped} times; the move ended with: {error}")  # noqa: T201 - shown with -s
    assert disturber.stripped
    if error is not None:
        committed = phase is Phase.DELETING
        assert ("it can only be completed" if committed else "the source is as it was") in str(error)
    assert controllers.journal.harm() == ()
    assert _pauses(after) == {_name(namespace, CLAIMED_AND_PAUSED): USER}
    if restored is RestoreStatus.ALL:
        _assert_same(fleet, before, after)


async def test_the_doubles_notice_what_clusterctl_does_to_hosts(pair: Pair, namespace: str, tmp_path: Path) -> None:
    await _fleet(pair.on_source, namespace)
    async with _controllers(pair, namespace) as controllers:
        await controllers.settled()
        assert controllers.journal.harm() == ()
        job = Job(pair.source.kubeconfig, pair.target.kubeconfig, ("--namespace", namespace))
        outcome = await run_clusterctl(job, tmp_path)
        assert outcome.succeeded, outcome.output
        await controllers.settled()
        await _take_pause_off(pair.on_target, namespace)
        await controllers.settled()
    harm = {(entry.subject.removeprefix(f"{namespace}/"), entry.action) for entry in controllers.journal.harm()}
    print(*controllers.journal.harm(), sep="\n")  # noqa: T201 - shown if it fails, or with -s
    assert {(_name(namespace, number), Action.INSPECT) for number in (*SPARE, WITH_IMAGE)} <= harm
    written = {(_name(namespace, number), Action.PROVISION) for number in (WITH_IMAGE, CLAIMED_AND_PAUSED)}
    assert written <= harm, f"the disks of hosts with {IMAGE_URL}"
