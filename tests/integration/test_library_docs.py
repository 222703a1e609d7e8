"""The program of docs/library.md, run as a user would run it, between two real control planes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import mover
from tests.documents import DOCS, python_of
from tests.integration.programs import environment, output_of
from tests.testbed.fleet import FleetSpec, build
from tests.testbed.pair import Pair

PAGE = DOCS / "library.md"
NAMESPACE = "metal3"
"""The namespace of the page; no other test uses it."""


def test_the_page_has_every_function() -> None:
    functions = [name for name in mover.__all__ if f"{name}_async" in mover.__all__]
    assert [name for name in functions if not re.search(rf"\bmover\.{name}\(", PAGE.read_text())] == []


async def test_the_program_of_the_page_does_what_it_says(pair: Pair, tmp_path: Path) -> None:
    spec = FleetSpec(
        namespace=NAMESPACE,
        cluster_name="prod",
        host_name="node",
        clusters=2,
        control_planes=1,
        workers=1,
        spare_hosts=1,
        paused_conditions=False,
    )
    movable = set((await build(pair.on_source, spec)).movable)
    script = tmp_path / "library.py"
    script.write_text(python_of(PAGE.read_text()))
    places = {
        "SOURCE_KUBECONFIG": str(pair.source.kubeconfig),
        "TARGET_KUBECONFIG": str(pair.target.kubeconfig),
        "REPLACEMENT_KUBECONFIG": str(pair.source.kubeconfig),  # which has nothing left at that point
    }

    output = await output_of([sys.executable, script], environment(tmp_path) | places, folder=tmp_path)

    count = len(movable)
    assert output.count("moves: ") == count
    for line in (
        f"saved {count} objects; ",
        "everything is as it was: The maintenance window is over",
        "stopped in the phase creating\n",
        f"moved {count} objects, {count} copies verified\n",
        'changed: BareMetalHost metal3/node-0001: metadata.labels.site: source nothing, target "berlin"\n',
        "prod-1: moved after ",
        "prod-2: moved after ",
        "moves under way: 0\n",
        f"restored {count} objects\n",
    ):
        assert line in output, f"{line!r} is missing:\n{output}"
    assert output.count("changed: ") == spec.hosts
    assert "metadata.finalizers" not in output  # warnings of the servers
    restored, moved = await pair.source_objects(NAMESPACE), await pair.target_objects(NAMESPACE)
    assert movable <= set(restored)
    assert movable <= set(moved)
    sites = {key: (restored[key].labels.get("site"), moved[key].labels.get("site")) for key in movable}
    hosts = {key for key in movable if key.kind == "BareMetalHost"}
    assert len(hosts) == spec.hosts
    assert sites == {key: (None, "berlin" if key in hosts else None) for key in movable}
