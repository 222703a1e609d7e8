"""ClusterResourceSets, what they apply, and their bindings."""

from __future__ import annotations

from tests.differential.parts import binding, cluster, config_map, resource_set, secret
from tests.differential.scenario import Verdict, scenario
from tests.differential.world import Ends, Thing, World

_LABELS = {"cni": "calico"}


def _set() -> Thing:
    return resource_set("crs", config_map("m"), secret("s"))


@scenario()
def a_resource_set_moves_with_its_resources_and_bindings() -> World:
    owner = _set()
    bound = binding("c", "c", owner.owner())
    return World(
        (cluster("c", labels=_LABELS), owner, config_map("m", owner.owner()), secret("s", owner.owner()), bound)
    )


@scenario(verdict=Verdict.WE_REFUSE, check="references")
def a_resource_set_without_a_cluster_moves_and_what_it_does_not_own_stays() -> World:
    return World((_set(), config_map("m", ends=Ends.LEFT), secret("s", ends=Ends.LEFT)))


@scenario()
def a_binding_without_owner_moves_with_the_cluster_it_names() -> World:
    return World((cluster("c"), binding("any-name", "c"), binding("d", "d", ends=Ends.LEFT)))


@scenario()
def two_resource_sets_share_a_binding_and_a_resource() -> World:
    one, two = _set(), resource_set("crs2", config_map("m"))
    shared = config_map("m", one.owner(), two.owner())
    return World(
        (cluster("c"), one, two, shared, secret("s", one.owner()), binding("c", "c", one.owner(), two.owner()))
    )
