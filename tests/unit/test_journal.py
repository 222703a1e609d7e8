"""Tests of keeping the record on two clusters: what is written before what, and which record is right."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aiohttp import web

from mover.errors import ForbiddenError, MoverError
from mover.execute.journal import Found, Journal, Records, find, list_records, read_record, remove_record, write_record
from mover.models import Phase
from mover.record import Record, RecordError, encode, name_of
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.scripted_server import Reply, failure
from tests.unit.test_record import large, record

COLLECTION = "/api/v1/namespaces/capi-mover/configmaps"


def names(server: FakeApiServer) -> list[str]:
    """Returns the names of the ConfigMaps that are there."""
    return sorted(path.removeprefix(f"{COLLECTION}/") for path in server.bodies)


async def test_a_record_is_read_as_it_was_written_in_parts_too() -> None:
    cluster = FakeApiServer().direct()
    for known in (record(), large(), large(seed=2), record(phase=Phase.CREATING)):
        await write_record(cluster, "ns", encode(known))
        assert await read_record(cluster, "ns") == known


async def test_a_cluster_without_a_record_has_none() -> None:
    server = FakeApiServer()
    await write_record(server.direct(), "other", encode(record(scope="other")))
    assert await read_record(server.direct(), "ns") is None
    assert await read_record(server.direct(), "") is None


async def test_at_every_write_a_whole_record_can_be_read() -> None:
    """Further parts come before the head that names them, old parts go after it."""
    server, seen = FakeApiServer(), list[Record | None]()
    old, new = large(seed=1), large(seed=2)
    await write_record(server.direct(), "ns", encode(old))
    log = len(server.log)
    writer = server.direct()
    send = writer.link.send

    async def look(request: object) -> bytes:
        seen.append(await read_record(server.direct(), "ns"))
        return await send(request)  # type: ignore[arg-type]

    writer.link.send = look  # type: ignore[method-assign]
    await write_record(writer, "ns", encode(new))
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
    other = encode(large(seed=3).model_copy(update={"scope": "other"}))
    await write_record(server.direct(), "other", other)
    await write_record(server.direct(), "ns", encode(large(seed=1)))
    small = encode(record())
    await write_record(server.direct(), "ns", small)
    kept = [body["metadata"]["name"] for body in (other.head, *other.chunks, small.head)]
    assert names(server) == sorted(kept)


async def test_the_head_is_removed_before_the_parts() -> None:
    server, known = FakeApiServer(), encode(large())
    await write_record(server.direct(), "ns", known)
    await remove_record(server.direct(), "ns")
    deletes = [entry for entry in server.log if entry.startswith("DELETE")]
    assert deletes[0] == f"DELETE {COLLECTION}/capi-mover.ns"
    assert len(deletes) == 1 + len(known.chunks)
    assert server.bodies == {}
    await remove_record(server.direct(), "ns")


async def test_a_part_that_is_missing_is_a_damaged_record() -> None:
    server, known = FakeApiServer(), encode(large())
    await write_record(server.direct(), "ns", known)
    del server.bodies[f"{COLLECTION}/{known.chunks[0]['metadata']['name']}"]
    with pytest.raises(RecordError):
        await read_record(server.direct(), "ns")


async def test_a_record_that_somebody_has_emptied_is_an_error_of_ours() -> None:
    server = FakeApiServer()
    await write_record(server.direct(), "ns", encode(record()))
    server.bodies[f"{COLLECTION}/capi-mover.ns"]["data"] = {"format": "1"}
    with pytest.raises(MoverError):
        await read_record(server.direct(), "ns")


async def test_the_moves_of_a_cluster_are_listed_by_what_they_move() -> None:
    cluster = FakeApiServer().direct()
    assert await list_records(cluster) == Records()
    known = [record(scope=scope) for scope in ("", "a", "b")]
    for one in reversed(known):
        await write_record(cluster, one.scope, encode(one))
    assert list((await list_records(cluster)).readable) == known


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
    both = Both(record())
    for cluster in (both.source, both.target):
        await write_record(cluster, "ns", encode(large()))
    await both.journal.write(both.journal.record)
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


async def test_a_record_that_somebody_has_deleted_meanwhile_is_written_anew() -> None:
    both = Both(record())
    await both.journal.write(both.journal.record)
    both.servers[0].bodies.clear()
    await both.journal.advance(Phase.PAUSING)
    assert (await both.read()).source == both.journal.record


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
