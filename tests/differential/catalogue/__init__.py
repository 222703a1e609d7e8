"""The scenarios: each a function whose name says what clusterctl does, and which returns the world it does it with."""

from tests.differential.catalogue import (
    checks,
    classes,
    command_line,
    content,
    global_objects,
    machines,
    metal3,
    names_and_labels,
    owners,
    resource_sets,
    target,
)
from tests.differential.scenario import CATALOGUE

__all__ = [
    "CATALOGUE",
    "checks",
    "classes",
    "command_line",
    "content",
    "global_objects",
    "machines",
    "metal3",
    "names_and_labels",
    "owners",
    "resource_sets",
    "target",
]
