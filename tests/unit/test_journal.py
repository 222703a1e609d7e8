"""Tests of keeping the record on two clusters: what is written before what, and which record is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from mover.errors import ApiError, ForbiddenError, MoverError, SupersededError
from mover.execute.journal import Found, Journal, Records, find, list_records, read_record
from mover.models import Phase
from mover.record import Record, RecordError, encode, name_of
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.scripted_server import Reply, failure, reset
from tests.unit.test_record import large, record

COLLECTION = "/api/v1/namespaces/capi-mover/configmaps"


def names(server: FakeApiServer) -> list[str]:
    """Returns the names of the ConfigMaps that are there."""
    return sorted(path.removeprefix(f"{COLLECTION}/") for path in server.bodies)


async def write(server: FakeApiServer, *known: Record) -> Journal:
    """Returns a journal that has written records of one move to a server, one after the other."""
    journal = Journal(known[0], (server.direct(),))
    for one in known:
        await journal.write(one)
    return journal


async def test_a_record_is_read_as_it_was_written_in_parts_too() -> None:
    server = FakeApiServer()
    journal = Journal(record(), (server.direct(),))
    for known in (record(), large(), large(seed=2), record(phase=Phase.CREATING)):
        await journal.write(known)
        assert await read_record(server.direct(), "ns") == known


async def test_a_cluster_without_a_record_has_none() -> None:
    server = FakeApiServer()
    await write(server, record(scope="other"))
    assert await read_record(server.direct(), "ns") is None
    assert await read_record(server.direct(), "") is None


async def test_at_every_write_a_whole_record_can_be_read() -> None:
    """Further parts come before the head that names them, old parts go after it."""
    server, seen = FakeApiServer(), list[Record | None]()
    old, new = large(seed=1), large(seed=2)
    writer = server.direct()
    journal = Journal(old, (writer,))
    await journal.write(old)
    log = len(server.log)
    send = writer.link.send

    async def look(request: object) -> bytes:
        seen.append(await read_record(server.direct(), "ns"))
        return await send(request)  # type: ignore[arg-type]

    writer.link.send = look  # type: ignore[method-assign]
    await journal.write(new)
    assert seen[0] == old
    assert await read_record(server.direct(), "ns") == new
    assert [known for known in seen if known not in (old, new)] == []
    kinds = [
        (entry.split()[0], "part" if name_of("ns") + "." in entry else "head")
        for entry in server.log[log:]
        if entry.split()[0] in ("PATCH", "DELETE")
    ]
    assert kinds[0] == ("PATCH", "head")
    assert set(kinds[1:]) == {("DELETE", "part")}


async def test_only_the_parts_of_the_newest_record_are_kept_and_those_of_other_moves() -> None:
    server = FakeApiServer()
    there, known = large(seed=3).model_copy(update={"scope": "other"}), record()
    await write(server, there)
    await write(server, large(seed=1), known)
    other, small = encode(there), encode(known)
    kept = [body["metadata"]["name"] for body in (other.head, *other.chunks, small.head)]
    assert names(server) == sorted(kept)


async def test_the_head_is_removed_before_the_parts() -> None:
    server, known = FakeApiServer(), encode(large())
    journal = await write(server, large())
    await journal.remove()
    deletes = [entry for entry in server.log if entry.startswith("DELETE")]
    assert deletes[0] == f"DELETE {COLLECTION}/capi-mover.ns"
    assert len(deletes) == 1 + len(known.chunks)
    assert server.bodies == {}
    await journal.remove()


async def test_a_part_that_is_missing_is_a_damaged_record() -> None:
    server, known = FakeApiServer(), encode(large())
    await write(server, large())
    del server.bodies[f"{COLLECTION}/{known.chunks[0]['metadata']['name']}"]
    with pytest.raises(RecordError):
        await read_record(server.direct(), "ns")


async def test_a_record_that_somebody_has_emptied_is_an_error_of_ours() -> None:
    server = FakeApiServer()
    await write(server, record())
    server.bodies[f"{COLLECTION}/capi-mover.ns"]["data"] = {"format": "1"}
    with pytest.raises(MoverError):
        await read_record(server.direct(), "ns")


async def test_the_moves_of_a_cluster_are_listed_by_what_they_move() -> None:
    server = FakeApiServer()
    assert await list_records(server.direct()) == Records()
    known = [record(scope=scope) for scope in ("", "a", "b")]
    for one in reversed(known):
        await write(server, one)
    assert list((await list_records(server.direct())).readable) == known


class Both:
    """A journal on two servers that notes the order of the writes."""

    def __init__(self, known: Record) -> None:
        self.servers = (FakeApiServer("source"), FakeApiServer("target"))
        self.source, self.target = (server.direct() for server in self.servers)
        self.journal = Journal(known, (self.source, self.target))
        self.order: list[str] = []
        for server in self.servers:
            server.before = self._noting(server.name)

    def _noting(self, name: str) -> Callable[[web.Request], Reply | None]:
        def note(request: web.Request) -> Reply | None:
            if request.method in ("POST", "PATCH", "DELETE"):
                self.order.append(f"{request.method} {name}")
            return None

        return note

    async def read(self) -> Found:
        """Returns both records."""
        return await find(self.source, self.target, "ns")


async def test_the_source_is_written_first_since_its_word_counts() -> None:
    both = Both(record())
    await both.journal.write(both.journal.record)
    both.order.clear()
    await both.journal.advance(Phase.DELETING, moving=("u",))
    assert [entry for entry in both.order if "PATCH" in entry] == ["PATCH source", "PATCH target"]
    found = await both.read()
    assert found.source == found.target == both.journal.record
    assert both.journal.record == record(phase=Phase.DELETING, moving=("u",))


async def test_what_a_program_has_written_once_it_patches_and_asks_for_nothing() -> None:
    both = Both(record())
    await both.journal.write(both.journal.record)
    for server in both.servers:
        server.log.clear()
    await both.journal.advance(Phase.PAUSING)
    for server in both.servers:
        assert server.log == [f"PATCH {COLLECTION}/capi-mover.ns"]


async def test_a_part_that_stays_is_not_sent_again_and_old_ones_are_removed_without_a_list() -> None:
    both = Both(large(seed=1))
    await both.journal.write(both.journal.record)
    server = both.servers[0]
    server.log.clear()
    await both.journal.advance(Phase.CREATING)
    assert server.log == [f"PATCH {COLLECTION}/capi-mover.ns"]
    old = [name for name in names(server) if name != "capi-mover.ns"]
    await both.journal.write(large(seed=2))
    new = encode(large(seed=2))
    assert names(server) == sorted(body["metadata"]["name"] for body in (new.head, *new.chunks))
    assert f"GET {COLLECTION}" not in server.log
    assert [entry for entry in server.log if entry.startswith("DELETE")] == [
        f"DELETE {COLLECTION}/{name}" for name in old
    ]
    await both.journal.write(record())
    assert names(server) == ["capi-mover.ns"]
    assert (await both.read()).source == record()


async def test_the_parts_that_an_earlier_program_has_left_are_removed_by_the_first_write() -> None:
    both = Both(large())
    await both.journal.write(both.journal.record)
    journal, _ = await Journal.opened(record(), both.source, both.target)
    await journal.write(record())
    assert [names(server) for server in both.servers] == [["capi-mover.ns"]] * 2


async def test_after_a_write_that_failed_on_its_way_nothing_is_taken_for_known() -> None:
    """It may have been carried out in part: what it left is found and removed by the next one."""
    both = Both(large(seed=1))
    await both.journal.write(both.journal.record)
    server, note = both.servers[0], both.servers[0].before
    server.before = lambda sent: failure(403, "Forbidden") if sent.method == "PATCH" else None
    with pytest.raises(ForbiddenError):
        await both.journal.write(large(seed=2))
    assert await both.read() == Found(large(seed=1), large(seed=1))
    server.before = note
    await both.journal.write(record())
    assert names(server) == ["capi-mover.ns"]
    assert (await both.read()).source == record()


async def begun(phase: Phase = Phase.CREATING) -> Both:
    """Returns a journal that has written its record to both servers."""
    both = Both(record())
    await both.journal.write(both.journal.record)
    await both.journal.advance(phase)
    return both


def head_of(server: FakeApiServer) -> dict[str, Any]:
    return server.bodies[f"{COLLECTION}/capi-mover.ns"]


@pytest.mark.parametrize("side", [0, 1], ids=["source", "target"])
async def test_a_record_that_somebody_has_removed_is_not_created_again(side: int) -> None:
    both = await begun()
    both.servers[side].bodies.clear()
    with pytest.raises(SupersededError, match="The move abc was ended by somebody else meanwhile"):
        await both.journal.advance(Phase.VERIFYING)
    assert both.servers[side].bodies == {}


@pytest.mark.parametrize("side", [0, 1], ids=["source", "target"])
async def test_a_record_that_somebody_else_has_written_is_not_written_over(side: int) -> None:
    both = await begun()
    other, _ = await Journal.opened(record(), both.source, both.target)
    await other.advance(Phase.DELETING, holder="elsewhere/1/2")
    if side:
        # As if only the target's had been written.
        both.servers[0].bodies[f"{COLLECTION}/capi-mover.ns"]["metadata"]["resourceVersion"] = str(
            both.journal._sides[0]._head.version  # type: ignore[union-attr]
        )
    before = head_of(both.servers[side])["data"]
    with pytest.raises(SupersededError, match=r"elsewhere/1/2 has written its record .* \(phase deleting\)") as caught:
        await both.journal.advance(Phase.VERIFYING)
    assert caught.value.holder == "elsewhere/1/2"
    assert head_of(both.servers[side])["data"] == before


async def test_a_record_of_another_move_in_its_place_is_left_alone() -> None:
    both = await begun()
    both.servers[0].bodies.clear()
    await write(both.servers[0], record(id="other"))
    before = head_of(both.servers[0])["data"]
    with pytest.raises(SupersededError, match="record of another move, other, in place of that of the move abc"):
        await both.journal.advance(Phase.VERIFYING)
    assert head_of(both.servers[0])["data"] == before


async def test_a_first_record_is_not_written_over_one_that_is_there() -> None:
    both = Both(record())
    await write(both.servers[0], record(id="other"))
    with pytest.raises(SupersededError, match="record of another move, other"):
        await both.journal.write(both.journal.record)
    assert both.order[-1] == "POST source"


def losing_once(server: FakeApiServer, method: str) -> list[str]:
    """Lets the server carry out one such request and break off; returns what it was."""
    lost: list[str] = []

    def before(request: web.Request) -> Reply | None:
        if lost or request.method != method or not request.path.startswith(COLLECTION):
            return None
        lost.append(request.path)

        async def carried_out(sent: web.Request) -> web.StreamResponse:
            await getattr(server, f"_{method.lower()}")(sent, await sent.json())(sent)
            return await reset(sent)

        return carried_out

    server.before = before
    return lost


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
async def test_a_write_whose_answer_is_lost_is_known_for_our_own_by_the_next_try(method: str) -> None:
    """The transport tries again, and meets what its first try has made."""
    server = FakeApiServer()
    lost = losing_once(server, method)
    async with server.cluster() as cluster:
        journal = Journal(record(), (cluster,))
        await journal.write(journal.record)
        await journal.advance(Phase.CREATING)
        await journal.advance(Phase.VERIFYING)
        assert await read_record(cluster, "ns") == record(phase=Phase.VERIFYING)
        await journal.remove()
    assert lost == [f"{COLLECTION}/capi-mover.ns" if method != "POST" else COLLECTION]
    assert server.bodies == {}


@pytest.mark.parametrize("then", ["write", "require_own", "remove"])
async def test_a_write_of_which_nobody_knows_whether_it_was_made_is_followed_later(then: str) -> None:
    """No further try was made: the next thing that is done meets it."""
    both = await begun()
    losing_once(both.servers[0], "PATCH")
    with pytest.raises(ApiError):
        await both.journal.advance(Phase.DELETING)
    assert both.journal.record.phase is Phase.CREATING
    await both.journal.require_own(1.0)
    if then == "write":
        await both.journal.begin_rollback()
        assert head_of(both.servers[0])["data"]["phase"] == "rolling-back"
    await both.journal.remove()
    assert await both.read() == Found(None, None)


async def test_a_first_write_of_which_nobody_knows_whether_it_was_made_can_be_removed() -> None:
    both = Both(record())
    losing_once(both.servers[0], "POST")
    with pytest.raises(ApiError):
        await both.journal.write(both.journal.record)
    assert await read_record(both.source, "ns") == record()
    await both.journal.remove()
    assert await both.read() == Found(None, None)


@pytest.mark.parametrize("side", [0, 1], ids=["source", "target"])
async def test_a_record_that_we_may_have_removed_ourselves_is_nobody_elses_doing(side: int) -> None:
    both = await begun()
    losing_once(both.servers[side], "DELETE")
    with pytest.raises(ApiError):
        await both.journal.remove()
    await both.journal.require_own(1.0)
    await both.journal.remove()
    assert await both.read() == Found(None, None)


async def test_a_record_that_somebody_else_has_written_is_not_removed() -> None:
    both = await begun()
    other, _ = await Journal.opened(record(), both.source, both.target)
    await other.advance(Phase.DELETING)
    with pytest.raises(SupersededError):
        await both.journal.remove()
    assert (await both.read()).source == record(phase=Phase.DELETING)


@pytest.mark.parametrize("side", [0, 1], ids=["source", "target"])
async def test_whether_a_record_is_our_own_is_asked_on_both_clusters(side: int) -> None:
    both = await begun()
    await both.journal.require_own(1.0)
    both.servers[side].bodies.clear()
    with pytest.raises(SupersededError):
        await both.journal.require_own(1.0)


async def test_a_target_that_does_not_say_what_it_has_is_passed_over() -> None:
    both = await begun()
    both.servers[1].before = lambda _: reset
    await both.journal.require_own(1.0)


async def test_a_resumed_move_goes_on_from_what_it_has_read() -> None:
    both = await begun()
    journal, found = await Journal.opened(record(), both.source, both.target)
    assert found == Found(record(phase=Phase.CREATING), record(phase=Phase.CREATING))
    assert journal.record.phase is Phase.CREATING
    await both.journal.advance(Phase.VERIFYING)
    with pytest.raises(SupersededError):
        await journal.advance(Phase.DELETING)


async def test_a_resumed_move_writes_the_target_that_was_never_written() -> None:
    """The first mover died between the two first writes."""
    both = Both(record())
    await write(both.servers[0], record())
    journal, _ = await Journal.opened(record(), both.source, both.target)
    await journal.advance(Phase.PAUSING)
    assert await both.read() == Found(record(phase=Phase.PAUSING), record(phase=Phase.PAUSING))


@pytest.mark.parametrize("side", [0, 1], ids=["source", "target"])
async def test_a_move_that_another_one_has_taken_the_place_of_is_not_resumed(side: int) -> None:
    both = await begun()
    both.servers[side].bodies.clear()
    await write(both.servers[side], record(id="other"))
    with pytest.raises(SupersededError):
        await Journal.opened(record(), both.source, both.target)


async def test_a_target_that_could_not_be_read_is_read_before_it_is_written() -> None:
    both = await begun()
    note, both.servers[1].before = both.servers[1].before, lambda _: reset
    journal, found = await Journal.opened(record(), both.source, both.target)
    assert found.target is None
    both.servers[1].before = note
    await journal.advance(Phase.ROLLING_BACK)
    assert (await both.read()).target == record(phase=Phase.ROLLING_BACK)
    both.servers[1].before = lambda _: reset
    late, _ = await Journal.opened(record(), both.source, both.target)
    both.servers[1].before = note
    both.servers[1].bodies.clear()
    await write(both.servers[1], record(id="other"))
    with pytest.raises(SupersededError):
        await late.advance(Phase.ROLLING_BACK)


async def test_a_rollback_begins_on_the_source_alone() -> None:
    both = Both(record())
    await both.journal.write(both.journal.record)
    both.order.clear()
    await both.journal.begin_rollback()
    assert {entry.split()[1] for entry in both.order} == {"source"}
    assert both.journal.record.is_rolling_back
    found = await both.read()
    assert found.source == both.journal.record == found.newest
    assert found.target == record()


async def test_the_record_goes_from_the_source_first() -> None:
    both = Both(record())
    await both.journal.write(both.journal.record)
    both.order.clear()
    await both.journal.remove()
    assert both.order == ["DELETE source", "DELETE target"]
    assert await both.read() == Found(None, None)


@pytest.mark.parametrize(("refusing", "phase"), [(0, Phase.PAUSING), (1, Phase.CREATING)], ids=["source", "target"])
async def test_what_the_source_has_been_told_is_known_whatever_the_target_says(refusing: int, phase: Phase) -> None:
    both = Both(record())
    await both.journal.write(both.journal.record)
    both.servers[refusing].before = lambda _: failure(403, "Forbidden")
    with pytest.raises(ForbiddenError):
        await both.journal.advance(Phase.CREATING)
    assert both.journal.record.phase is phase


@pytest.mark.parametrize(
    ("source", "target", "newest"),
    [
        (Phase.PAUSING, None, Phase.PAUSING),
        (None, Phase.RESUMING, Phase.RESUMING),
        (None, Phase.ROLLING_BACK, Phase.ROLLING_BACK),
        (Phase.DELETING, Phase.VERIFYING, Phase.DELETING),
        (Phase.RESUMING, Phase.DELETING, Phase.RESUMING),
        (Phase.ROLLING_BACK, Phase.CREATING, Phase.ROLLING_BACK),
        (Phase.ROLLING_BACK, Phase.DELETING, Phase.ROLLING_BACK),
    ],
)
def test_the_record_of_the_source_counts_and_the_targets_only_without_it(
    source: Phase | None, target: Phase | None, newest: Phase
) -> None:
    one, other = (None if phase is None else record(phase=phase) for phase in (source, target))
    found = Found(one, other).newest
    assert found is not None
    assert found.phase is newest


def test_without_records_there_is_no_move() -> None:
    assert Found(None, None).newest is None
