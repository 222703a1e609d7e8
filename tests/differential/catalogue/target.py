"""What the target has already: objects and namespaces."""

from __future__ import annotations

from tests.differential.kinds import ROVER
from tests.differential.parts import cluster, config_map, gadget, made, secret
from tests.differential.scenario import Verdict, scenario
from tests.differential.world import HERE, Ends, Thing, World

_OTHER = {"spec": {"edited": "on the target"}}


def _family() -> tuple[Thing, ...]:
    owner = cluster("c")
    return (owner, gadget("g", owner.owner(controller=True), labels={"a": "1"}, finalizers=("made-up.example.com/f",)))


@scenario(verdict=Verdict.WE_REFUSE, check="collisions")
def an_object_on_the_target_is_overwritten() -> World:
    return World((*_family(), made(ROVER, "r")), (gadget("g", body=_OTHER, labels={"b": "2"}),))


@scenario(options={"existing": "overwrite"})
def overwriting_on_request_is_what_clusterctl_does() -> World:
    there = (gadget("g", body=_OTHER, labels={"b": "2"}), made(ROVER, "r", body=_OTHER, annotations={"c": "3"}))
    return World((*_family(), made(ROVER, "r")), there)


@scenario(options={"existing": "overwrite"})
def an_overwritten_owner_gets_its_dependents_back() -> World:
    owner = cluster("c")
    return World((owner, secret("c-ca"), secret("s", owner.owner())), (cluster("c", labels={"old": "yes"}),))


@scenario(options={"existing": "adopt"})
def adopting_what_is_equal_is_what_clusterctl_does() -> World:
    return World((*_family(), made(ROVER, "r")), (made(ROVER, "r"),))


@scenario()
def objects_of_the_target_that_do_not_collide_are_left_alone() -> World:
    return World(_family(), (made(ROVER, "other"), config_map("c-ca")))


@scenario()
def a_missing_namespace_is_created() -> World:
    return World(_family(), labels={"pod-security.kubernetes.io/enforce": "privileged", "team": "metal"})


@scenario()
def a_namespace_that_is_there_is_left_as_it_is() -> World:
    stays = config_map("stays", ends=Ends.LEFT)
    return World((*_family(), stays), labels={"team": "metal"}, spaces=(HERE,))
