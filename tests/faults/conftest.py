"""What fault tests work with: two calm clusters with a witness, two that may be restarted, and the wire."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from graph.resource import ObjectKey
from mover.kube import transport
from mover.kube.transport import RetryPolicy
from mover.models import MANAGER
from mover.record import NAMESPACE as RECORDS
from tests.faults import ledger
from tests.faults import wire as wires
from tests.faults.ledger import LEDGER
from tests.faults.scene import SMALL, SPACES, Scene, make_scene
from tests.integration.conftest import namespace
from tests.testbed.client import AdminClient
from tests.testbed.pair import Pair
from tests.testbed.toxiproxy import Toxiproxy
from tests.testbed.witness import Expectations, Rule, Violation, Witness

__all__ = ["namespace"]

_EXCUSED: dict[str, frozenset[Rule]] = {}


def excuse(space: str, *rules: Rule) -> None:
    """Excuses a namespace in which a test breaks an invariant itself; without rules, that of pauses.

    When the target is out of reach, the source is resumed although paused copies are still on the target.
    """
    _EXCUSED[space] = frozenset(rules or (Rule.PAUSE_LOST,))


IMPATIENT = RetryPolicy(
    attempts=4,
    busy_attempts=4,
    total_s=30,
    first_wait_s=0.02,
    longest_wait_s=0.2,
    longest_asked_wait_s=0.5,
    request_timeout_s=15,
    connect_timeout_s=5,
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: long outages in every phase; run with FAULTS=all (make faults)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("FAULTS") == "all":
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    items[:] = [item for item in items if item not in slow]
    config.hook.pytest_deselected(items=slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if LEDGER["tried"]:
        terminalreporter.write_line(ledger.summary())


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[wires.Wire]:
    installed = wires.install(monkeypatch)
    yield installed
    LEDGER["injected"] += installed.injected


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> RetryPolicy:
    """Lets the mover give up after four tries and a second or two."""
    monkeypatch.setattr(transport, "RetryPolicy", lambda: IMPATIENT)
    return IMPATIENT


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def witness(pair: Pair) -> AsyncIterator[Witness]:
    """Watches the calm pair from the first fault to the last."""
    async with AsyncExitStack() as stack:
        planes = (pair.source, pair.target)
        clients = [await stack.enter_async_context(AdminClient(p.kubeconfig, connections=128)) for p in planes]
        watching = Witness(clients[0], clients[1], Expectations(rollback=True, ignored=_is_record), timeout_s=120)
        async with watching:
            yield watching
    # Whatever other tests have left on these clusters is none of this witness's business.
    seen = [found for found in seen_by(watching) if found.key.namespace in SPACES]
    assert not seen, "\n".join(map(str, seen))


def _is_record(key: ObjectKey) -> bool:
    return (key.kind, key.namespace) == ("ConfigMap", RECORDS) and key.name.startswith(f"{MANAGER}.")


def seen_by(witness: Witness, space: str = "") -> Sequence[Violation]:
    """Returns what the witness saw, in one namespace or in all; its own gaps left out."""
    seen = [found for found in witness.violations if found.rule is not Rule.BLIND]
    seen = [found for found in seen if found.rule not in _EXCUSED.get(found.key.namespace, ())]
    return [found for found in seen if not space or found.key.namespace == space]


@pytest.fixture
def shape() -> Mapping[str, Any]:
    """Returns the shape of the fleet of a scene."""
    return SMALL


@pytest.fixture
async def scene(
    pair: Pair, namespace: str, witness: Witness, wire: wires.Wire, shape: Mapping[str, Any]
) -> AsyncIterator[Scene]:
    """A fleet on the calm pair, watched by the witness."""
    made = await make_scene(pair, namespace, shape)
    yield made
    wire.mend()
    await _assert_nothing_lost(made)
    assert not seen_by(witness, namespace), "\n".join(map(str, seen_by(witness, namespace)))


async def _assert_nothing_lost(scene: Scene) -> None:
    lost = await scene.lost()
    LEDGER["lost"] += len(lost)
    assert not lost, f"lost: {', '.join(map(str, sorted(lost)))}"


@pytest.fixture
async def fragile(second_pair: Pair, namespace: str, wire: wires.Wire) -> AsyncIterator[Scene]:
    """A fleet on the pair that may be restarted; both servers run again at the end."""
    made = await make_scene(second_pair, namespace)
    yield made
    for plane in (second_pair.source, second_pair.target):
        plane.start_apiserver()
    await _assert_nothing_lost(made)


@pytest.fixture(scope="package")
def toxiproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toxiproxy]:
    with Toxiproxy(tmp_path_factory.mktemp("toxiproxy")) as running:
        yield running
