"""What integration tests share: each test works in namespaces of its own."""

from __future__ import annotations

from itertools import count

import pytest

_numbers = count(1)


@pytest.fixture
def namespace() -> str:
    """Returns a namespace that no other test uses."""
    return f"test-{next(_numbers)}"
