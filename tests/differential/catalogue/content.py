"""What is copied of an object: everything but its status, with its field managers."""

from __future__ import annotations

from dataclasses import replace

from graph import rules
from tests.differential.kinds import EDITION, GOOSE, OTHER_GADGET, ROVER, STONE
from tests.differential.parts import cluster, config_map, gadget, made, secret
from tests.differential.scenario import scenario
from tests.differential.world import Thing, Tree, World, Write
from tests.testbed.fleet import model

_FINALIZERS = ("made-up.example.com/one", "made-up.example.com/two")


@scenario()
def finalizers_come_along_in_their_order() -> World:
    owner = cluster("c", finalizers=("cluster.cluster.x-k8s.io",))
    return World(
        (owner, gadget("g", owner.owner(), finalizers=_FINALIZERS), secret("s", owner.owner(), finalizers=_FINALIZERS))
    )


@scenario()
def labels_and_annotations_come_along() -> World:
    notes = {"kubectl.kubernetes.io/last-applied-configuration": '{"a":1}\n', "empty": "", "tag": "ä/ß"}
    return World((made(ROVER, "r", annotations=notes, labels={"a.b/c": "", "d": "e"}), cluster("c", annotations=notes)))


@scenario()
def a_status_is_not_copied() -> World:
    status = {"phase": "Ready", "observedGeneration": 1, "deep": [{"a": 1}, {"b": None}]}
    return World((made(ROVER, "r", status=status), cluster("c")))


@scenario()
def the_status_of_a_kind_without_status_subresource_is_part_of_the_object() -> World:
    return World((made(STONE, "s", status={"phase": "Ready", "observedGeneration": 7}),))


@scenario()
def a_generated_name_stays_and_its_generate_name_goes() -> World:
    return World((made(ROVER, "r-x7x2z", generate_name="r-"), made(ROVER, "s")))


@scenario()
def a_kind_is_moved_in_its_storage_version_whatever_it_was_written_in() -> World:
    versions = [replace(EDITION, version=version) for version in ("v1alpha1", "v1beta1", "v2")]
    return World(tuple(made(kind, f"in-{kind.version}", manager=f"author-{kind.version}") for kind in versions))


@scenario()
def a_plural_is_never_guessed_from_the_kind() -> World:
    goose = made(GOOSE, "g", labels={rules.MOVE_HIERARCHY_LABEL: ""})
    return World((goose, made(GOOSE, "h", goose.owner())))


@scenario()
def two_kinds_of_the_same_name_are_told_apart_by_their_groups() -> World:
    owner = cluster("c")
    one = gadget("g", owner.owner())
    other = made(OTHER_GADGET, "g", owner.owner(), body={"spec": {"group": "other"}})
    return World((owner, one, other, secret("s", one.owner()), config_map("m", other.owner())))


@scenario()
def data_of_every_shape_comes_along() -> World:
    owner = cluster("c")
    frozen = Thing(model.SECRET, "frozen", {"data": {"a": "YQ==", "b": ""}, "immutable": True}, owners=(owner.owner(),))
    binary = Thing(
        model.CONFIG_MAP, "binary", {"binaryData": {"a": "AAECAw=="}, "data": {"b": "ü\n"}}, owners=(owner.owner(),)
    )
    odd: Tree = {"spec": {"null": None, "empty": {}, "list": [], "number": 1.5, "large": 9007199254740993, "text": " "}}
    return World((owner, frozen, binary, gadget("odd", owner.owner(), body=odd)))


@scenario()
def field_managers_are_restored() -> World:
    owner = cluster("c", finalizers=("cluster.cluster.x-k8s.io",))
    edited = Write("editor", {"metadata": {"labels": {"edited": "yes"}}, "spec": {"extra": 1}})
    shared = Write("co-author", {"metadata": {"name": "applied"}, "spec": {"of": "applied", "more": True}}, apply=True)
    reported = Write("reporter", {"status": {"seen": True}}, subresource="status")
    applied = made(ROVER, "applied", apply=True, manager="applier", writes=(edited, shared, reported))
    below = gadget("below", owner.owner(controller=True, block=True), apply=True, manager="applier")
    return World((owner, applied, below, gadget("updated", owner.owner(), status={"phase": "Ready"})))


@scenario()
def an_owner_set_by_another_manager_stays_with_that_manager() -> World:
    owner = cluster("c")
    return World(
        (owner, secret("s", owner.owner(), manager="one", writes=(Write("two", {"metadata": {"labels": {"a": "b"}}}),)))
    )
