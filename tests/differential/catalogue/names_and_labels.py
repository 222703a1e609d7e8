"""What moves by its name, its labels or its kind."""

from __future__ import annotations

from graph import rules
from tests.differential.kinds import GHOST, REALM, ROVER
from tests.differential.parts import cluster, config_map, gadget, made, secret
from tests.differential.scenario import Verdict, scenario
from tests.differential.world import Ends, World

MOVE = {rules.MOVE_LABEL: ""}
HIERARCHY = {rules.MOVE_HIERARCHY_LABEL: ""}


@scenario()
def a_secret_without_owner_moves_with_the_cluster_that_its_name_begins_with() -> World:
    return World((cluster("c"), *(secret(f"c-{purpose}") for purpose in rules.SECRET_PURPOSES)))


@scenario()
def a_purpose_is_only_the_last_part_of_a_name() -> World:
    clusters = (cluster("c"), cluster("c-ca"), cluster("c-apiserver"))
    return World((*clusters, secret("c-ca-ca"), secret("c-apiserver-etcd"), secret("c-ca-kubeconfig"), secret("c-sa")))


@scenario()
def a_secret_that_has_an_owner_is_not_tied_by_its_name() -> World:
    holder = config_map("holder", ends=Ends.LEFT)
    return World((cluster("c"), holder, secret("c-ca", holder.owner(), ends=Ends.LEFT)))


@scenario()
def secrets_and_config_maps_that_belong_to_nothing_stay() -> World:
    others = ("d-ca", "c-token", "ca", "unrelated")
    stay = [secret(name, ends=Ends.LEFT) for name in others]
    return World((cluster("c"), *stay, config_map("c-ca", ends=Ends.LEFT), config_map("unrelated", ends=Ends.LEFT)))


@scenario()
def everything_of_a_kind_labelled_move_moves_and_nothing_else_does() -> World:
    return World((made(ROVER, "r"), made(ROVER, "s"), gadget("g", ends=Ends.LEFT)))


@scenario(verdict=Verdict.WE_REFUSE, check="left-dependents")
def what_a_move_label_leaves_behind_is_collected_with_its_owner() -> World:
    rover = made(ROVER, "r")
    return World((rover, gadget("below", rover.owner(), ends=Ends.COLLECTED)))


@scenario()
def an_object_labelled_move_moves_whatever_the_value() -> World:
    labels = {rules.MOVE_LABEL: "false"}
    unread = made(GHOST, "h", labels=MOVE, ends=Ends.LEFT)
    return World((gadget("g", labels=labels), config_map("m", labels=MOVE), secret("s", labels=labels), unread))


@scenario()
def everything_below_a_kind_labelled_move_hierarchy_moves() -> World:
    realm = made(REALM, "r")
    below = gadget("g", realm.owner())
    return World((realm, below, secret("s", below.owner()), config_map("m", realm.owner(block=True))))


@scenario()
def everything_below_an_object_labelled_move_hierarchy_moves() -> World:
    root = config_map("root", labels=HIERARCHY)
    below = gadget("g", root.owner())
    return World((root, below, secret("s", below.owner()), config_map("beside", ends=Ends.LEFT)))


@scenario()
def what_is_of_an_unlabelled_kind_is_collected_with_its_owner() -> World:
    owner = cluster("c")
    return World((owner, made(GHOST, "h", owner.owner(), ends=Ends.COLLECTED)))
