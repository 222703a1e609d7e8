"""Two management clusters for all integration tests; each test works in namespaces of its own."""

from __future__ import annotations

from itertools import count

import pytest

from tests.testbed.pair import Pair, pair, planes

__all__ = ["Pair", "pair", "planes"]

_numbers = count(1)


@pytest.fixture
def namespace() -> str:
    """Returns a namespace that no other test uses."""
    return f"test-{next(_numbers)}"
