"""Tests of the page of a move: what it tells, what it must not hold, and when it is written."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer

from graph import rules
from mover import api
from mover.chronicle import Chronicler, windows
from mover.cli.page import PageKeeper
from mover.errors import Problem, RefusedError, UsageError
from mover.events import Event, Noted, PhaseStarted, Planned, UnitStarted
from mover.execute.run import InterruptedMoveError
from mover.models import MoveReport, Phase, RollingReport, UnitFate
from mover.page import Drawer, report_page
from mover.page.timeline import phase_rows, shown, unit_rows
from mover.report import Ending
from tests.unit.mover_builders import SMALL, Stage, lets_connect, make, refuse
from tests.unit.page_builders import (
    HIDDEN,
    PHASES,
    PLAN,
    TRAFFIC,
    Story,
    moved,
    report_of,
    rolled,
    rolled_back,
    unequal_error,
)

MARKER = "bm90LWZvci1hbnlib2R5"


class _Text(HTMLParser):
    """Collects what is to be read on a page: the text of its elements, without scripts and style."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        del attrs
        self._inside.append(tag)

    def handle_data(self, data: str) -> None:
        if self._inside[-1:] not in (["script"], ["style"]):
            self.parts.append(data)


def text_of(page: str) -> str:
    """Returns what is to be read on a page, in one line."""
    parser = _Text()
    parser.feed(page)
    return " ".join(" ".join(parser.parts).split())


def data_of(page: str) -> Any:
    """Returns what the page's own program reads."""
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_a_move_is_told_with_its_places_times_counts_and_calls() -> None:
    text = text_of(moved())
    assert "✔ Moved in 6.00 s From here To there" in text
    assert "Move of namespace ns" in text
    assert "Cluster.cluster.x-k8s.io 3 Secret 1 2 all 4 2" in text
    assert "6 copies were read back and found equal" in text
    assert "Method Source Target DELETE 8 GET 12 5 POST 8 tries again among them 0 2" in text
    assert "Creating done 1 2.00 s 1.00 s" in text
    assert "Paused resumed 1.00 s 5.00 s" in text
    assert "Cluster ns/a: its pause is not confirmed; Cluster ns/b: its pause is not confirmed" in text
    assert "2.00 s Mind the gap" in text


def test_every_object_of_a_move_has_its_fate_and_whether_it_has_come() -> None:
    (graph,) = data_of(moved())["graphs"]
    assert (graph["scope"], graph["tense"]) == ("ns", "done")
    fates = {node["name"]: node["fate"] for node in graph["graph"]["objects"]}
    assert fates["a"] == fates["a-1"] == fates["a-ca"] == "move"
    assert fates["loose"] == "leave"
    (failed,) = data_of(rolled_back())["graphs"]
    assert failed["tense"] == "not-done"


def test_a_move_that_was_rolled_back_tells_what_differed_without_the_values() -> None:
    page = rolled_back()
    text = text_of(page)
    assert "✖ Rolled back: the source is as it was" in text
    assert "The move was rolled back: the source is as it was, the copies are gone" in text
    assert "Next: Mend the cause, then move again" in text
    assert "Differences (2)" in text
    assert "Machine ns/a-1 spec.providerID Secret ns/a-ca the object as a whole" in text
    assert "Verifying not finished 1 of 2" in text
    assert "Rolling back done" in text
    assert "Paused resumed 1.00 s 4.00 s" in text
    assert HIDDEN not in page


def test_a_refused_move_lists_its_problems() -> None:
    problem = Problem("versions", "target", "Provider metal3", "it is older", "Upgrade it: clusterctl upgrade")
    text = text_of(Story().page(error=RefusedError([problem])))
    assert "✖ Refused: nothing was changed" in text
    assert "versions target Provider metal3 it is older Upgrade it: clusterctl upgrade" in text


def test_a_move_that_stopped_names_the_next_command_and_what_is_still_paused() -> None:
    story = Story()
    story.go_through(PHASES[:3])
    story.begin(Phase.DELETING)
    story.now_s += 2
    text = text_of(story.page(error=InterruptedMoveError("It broke", "Go on with: capi-mover resume")))
    assert "✖ Stopped on its way It broke Next: Go on with: capi-mover resume" in text
    assert "Deleting not finished 1 of 2 4.00 s 2.00 s" in text
    assert "Paused not resumed by this run 1.00 s 5.00 s so far" in text


def test_what_failed_before_anything_was_planned_is_told_too() -> None:
    page = report_page(Chronicler().chronicle(), [], [], UsageError("There is no such context", "Choose another"))
    text = text_of(page)
    assert "There is no such context Next: Choose another" in text
    assert "From not known" in text
    assert data_of(page)["graphs"] == []


def test_units_have_a_row_each_with_their_phases_and_their_pause() -> None:
    fates = {"ns/a": UnitFate.MOVED, "ns/b": UnitFate.ROLLED_BACK, "ns/c": UnitFate.NOT_BEGUN}
    page = rolled(fates.__getitem__)
    text = text_of(page)
    assert "✖ 1 of 3 units moved Next:" in text
    assert "Cluster a of namespace ns moved 3 5.00 s 5.00 s" in text
    assert "Cluster b of namespace ns rolled back 3 4.00 s 4.00 s" in text
    assert "- Machine ns/a-1: spec.providerID" in text
    assert "Cluster c of namespace ns not begun" in text
    assert HIDDEN not in page
    assert [(unit["scope"], unit["tense"]) for unit in data_of(page)["units"]] == [
        ("ns/a", "done"),
        ("ns/b", "not-done"),
        ("ns/c", "not-done"),
    ]
    assert "✔ Moved" in text_of(rolled())


def test_bars_are_where_the_time_has_them() -> None:
    story = Story(rolling=True)
    unit = story.units[0]
    story.tell(UnitStarted(unit, 3))
    story.go_through(PHASES[:2], unit)
    story.now_s += 1
    chronicle = story.chronicler.chronicle()
    (row, *others) = unit_rows(chronicle, story.units, [])
    assert (row.state, row.paused, row.began) == ("stopped", "2.00 s so far", "1.00 s")
    assert [(bar.look, bar.left, bar.width) for bar in row.bars] == [
        ("paused", 25, 50),
        ("pausing", 25, 25),
        ("creating", 50, 25),
    ]
    assert [other.state for other in others] == ["not begun", "not begun"]
    assert [row.name for row in phase_rows(chronicle)] == ["Preflight"]


def test_a_pause_that_was_begun_by_an_earlier_run_is_counted_from_the_first_phase_of_this_one() -> None:
    story = Story()
    story.go_through((Phase.DELETING, Phase.RESUMING))
    (window,) = windows(story.chronicler.chronicle().phases).values()
    assert (window.started_s, window.ended_s, window.is_over) == (1, 3, True)


@pytest.mark.parametrize(
    ("phases", "found"),
    [
        ((Phase.COPYING_AHEAD, Phase.ROLLING_BACK), []),
        ((Phase.COPYING_AHEAD, Phase.PAUSING, Phase.ROLLING_BACK), [(2, 4, True)]),
        ((Phase.PAUSING, Phase.SAVING, Phase.RELEASING), [(1, 4, True)]),
        ((Phase.PAUSING, Phase.SAVING), [(1, 3, False)]),
        ((Phase.RELEASING,), []),
    ],
)
def test_a_pause_begins_with_what_is_paused_and_ends_with_its_resume(
    phases: tuple[Phase, ...], found: list[tuple[float, float, bool]]
) -> None:
    story = Story()
    story.go_through(phases)
    seen = windows(story.chronicler.chronicle().phases).values()
    assert [(window.started_s, window.ended_s, window.is_over) for window in seen] == found


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.00 s"), (0.314, "0.31 s"), (12.34, "12.3 s"), (59.96, "1 min 0 s"), (75.4, "1 min 15 s")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert shown(seconds) == text


def test_what_is_planned_again_takes_the_place_of_the_first_plan_and_other_namespaces_stand_beside_it() -> None:
    story = Story()
    selection, creation, deletion = PLAN.selection, PLAN.creation, PLAN.deletion
    story.tell(Planned("ns", "here", "there", selection, creation, deletion))
    story.tell(Planned("other", "here", "there", selection, creation, deletion))
    assert [graph.scope for graph in story.drawer.graphs()] == ["ns", "other"]
    text = text_of(story.page())
    assert "Move of namespace ns; namespace other" in text


async def test_no_data_of_a_secret_comes_onto_the_page_of_a_real_move(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(make(rules.SECRET, "c-etcd", data={"tls.key": MARKER}, metadata={"annotations": {"last": MARKER}}))
    page = await page_of(monkeypatch, stage)
    assert "c-etcd" in page
    assert MARKER not in page
    assert str(len(SMALL) + 1) + " copies" in text_of(page)


async def test_no_data_of_a_secret_comes_onto_the_page_of_a_move_whose_copies_differ(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = make(rules.SECRET, "c-etcd", data={"tls.key": MARKER})
    stage = Stage(secret)
    changed = {"done": False}

    def change() -> None:
        if not changed["done"] and stage.target.has(secret):
            changed["done"] = True
            stage.target.change(secret, data={"tls.key": MARKER + MARKER})

    stage.target.before = lambda request: change() if request.method == "GET" else None
    page = await page_of(monkeypatch, stage)
    assert changed["done"]
    assert "Rolled back" in text_of(page)
    assert "Secret ns/c-etcd data.tls.key" in text_of(page)
    assert [graph["tense"] for graph in data_of(page)["graphs"]] == ["not-done"], "the preflight has told of no plan"
    assert MARKER not in page


async def test_the_page_of_a_resumed_move_has_its_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(on_failure="keep")
    refuse(stage.target, "POST", "/machines")
    assert "Stopped on its way" in text_of(await page_of(monkeypatch, stage))
    stage.target.before = lambda _: None
    page = await page_of(monkeypatch, stage)
    (graph,) = data_of(page)["graphs"]
    assert (graph["tense"], len(graph["graph"]["objects"])) == ("done", len(SMALL) + 1)
    assert "✔ Moved" in text_of(page)


async def test_the_page_of_a_rolling_move_has_its_units_and_whose_each_object_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = await page_of(monkeypatch, Stage(), roll=api.roll_async)
    (graph,) = data_of(page)["graphs"]
    assert graph["graph"]["units"] == ["ns/c"]
    whose = {f"{node['kind']} {node['name']}": node.get("units") for node in graph["graph"]["objects"]}
    assert (whose["Machine m"], whose["BareMetalHost h"]) == ([0], None)
    text = text_of(page)
    assert "Units 2 of 2 moved" in text
    assert "Cluster c of namespace ns moved 4" in text


async def page_of(
    monkeypatch: pytest.MonkeyPatch, stage: Stage, roll: Callable[..., Awaitable[RollingReport]] | None = None
) -> str:
    """Returns the page of a move between the stage's clusters, however it ends."""

    async def connect(name: str, *_: object) -> Any:
        return (stage.source if name == "source" else stage.target).direct()

    lets_connect(monkeypatch, connect)
    chronicler, drawer = Chronicler(), Drawer()

    def listen(event: Event) -> None:
        chronicler(event)
        drawer(event)

    here, there = api.ClusterRef(Path("source")), api.ClusterRef(Path("target"))
    reports: list[MoveReport | RollingReport] = []
    error = None
    try:
        moving = api.move_async if roll is None else roll
        reports.append(await moving(here, there, stage.options, listener=listen))
    except Exception as failure:  # noqa: BLE001 - whatever it fails with, the page tells of it
        error = failure
    return report_page(chronicler.chronicle(), drawer.graphs(), reports, error)


def test_a_page_is_written_whole_at_the_end_and_also_of_a_failure(tmp_path: Path) -> None:
    file = tmp_path / "move.html"
    keeper = PageKeeper(file)
    for event in (PhaseStarted(Phase.PREFLIGHT), Noted("hello"), *TRAFFIC):
        keeper(event)
    assert not file.exists()
    keeper.end(Ending((), unequal_error(), 5))
    assert "hello" in file.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["move.html"]


def test_a_command_that_was_refused_for_its_flags_leaves_the_page_of_an_earlier_move(tmp_path: Path) -> None:
    file = tmp_path / "move.html"
    file.write_text("earlier")
    PageKeeper(file).end(Ending((), UsageError("Please specify only one"), 2))
    assert file.read_text() == "earlier"


def test_an_exit_code_is_no_error_to_be_told(tmp_path: Path) -> None:
    file = tmp_path / "move.html"
    PageKeeper(file).end(Ending((report_of(),), typer.Exit(4), 4))
    assert "Moved in" in file.read_text()


def test_a_report_of_nothing_has_no_kinds() -> None:
    report = MoveReport(source="here", target="there", namespace="ns")
    assert "Objects by kind" not in text_of(Story().page(report))
