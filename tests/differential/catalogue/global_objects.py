"""Cluster-scoped objects and what is below them: copied, never deleted, never overwritten."""

from __future__ import annotations

from graph import rules
from tests.differential.kinds import COMET, GALAXY, PLANET, ROVER
from tests.differential.parts import cluster, gadget, made, secret
from tests.differential.scenario import scenario
from tests.differential.world import Ends, World

PROVIDER_NAMESPACE = "capm3-system"
_OTHER = {"spec": {"edited": "on the target"}}


@scenario()
def a_global_object_that_is_labelled_is_copied_and_stays() -> World:
    by_label = made(PLANET, "labelled", labels={rules.MOVE_LABEL: ""}, ends=Ends.KEPT)
    return World((made(COMET, "c", ends=Ends.KEPT), by_label, made(PLANET, "p", ends=Ends.LEFT), cluster("c")))


@scenario()
def everything_below_a_global_root_is_copied_and_stays() -> World:
    root = made(GALAXY, "g", ends=Ends.KEPT)
    planet = made(PLANET, "p", root.owner(), ends=Ends.KEPT)
    return World((root, planet, gadget("below", planet.owner(), ends=Ends.KEPT), made(ROVER, "r")))


@scenario()
def the_secret_of_a_global_identity_is_copied_from_the_providers_namespace() -> World:
    root = made(GALAXY, "identity", ends=Ends.KEPT)
    owned = secret("credentials", root.owner(), namespace=PROVIDER_NAMESPACE, ends=Ends.KEPT)
    return World((root, owned, secret("unrelated", namespace=PROVIDER_NAMESPACE, ends=Ends.LEFT)))


@scenario()
def a_labelled_secret_in_the_providers_namespace_moves_for_good() -> World:
    labels = {rules.MOVE_LABEL: ""}
    return World((secret("labelled", namespace=PROVIDER_NAMESPACE, labels=labels), cluster("c")))


@scenario()
def a_global_object_and_what_is_below_it_are_left_as_they_are_on_the_target() -> World:
    root = made(GALAXY, "g", ends=Ends.KEPT)
    below = secret("s", root.owner(), namespace=PROVIDER_NAMESPACE, ends=Ends.KEPT)
    new = gadget("new", root.owner(controller=True), ends=Ends.LEFT)
    there = made(GALAXY, "g", body=_OTHER)
    return World(
        (root, made(COMET, "c", ends=Ends.KEPT), below, new),
        (there, made(COMET, "c", body=_OTHER), secret("s", namespace=PROVIDER_NAMESPACE, labels={"other": "yes"})),
    )
