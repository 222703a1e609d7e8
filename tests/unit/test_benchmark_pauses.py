"""A pause lasts from the first pause on the source to the end of the last one on the target."""

from typing import Any

import pytest

from benchmarks.pauses import PauseWatch, percentile


def _cluster(*, paused: bool) -> dict[str, Any]:
    spec = {"paused": True} if paused else {}
    return {"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": {"name": "one"}, "spec": spec}


def test_a_pause_ends_when_the_copy_is_resumed() -> None:
    watch = PauseWatch("fleet")
    watch.on_source(_cluster(paused=False), 0.0)
    watch.on_source(_cluster(paused=True), 1.0)
    watch.on_source(_cluster(paused=True), 2.0)
    watch.on_target(_cluster(paused=True), 3.0)
    watch.on_target(_cluster(paused=False), 4.0)
    watch.on_target(_cluster(paused=False), 5.0)

    assert watch.windows() == {"one": 3.0}


def test_a_copy_that_is_born_unpaused_and_paused_then_is_not_resumed_yet() -> None:
    watch = PauseWatch("fleet")
    watch.on_source(_cluster(paused=True), 1.0)
    watch.on_target(_cluster(paused=False), 2.0)
    watch.on_target(_cluster(paused=True), 3.0)

    assert watch.windows() == {}


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 2.0), (0.51, 3.0), (0.95, 4.0), (1.0, 4.0)])
def test_a_percentile_is_one_of_the_values(share: float, expected: float) -> None:
    assert percentile([3.0, 1.0, 4.0, 2.0], share) == expected


def test_there_is_no_percentile_of_nothing() -> None:
    assert percentile([], 0.95) == 0.0
