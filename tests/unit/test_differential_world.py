"""Worlds: aliases become the names of a run, owners become references."""

from __future__ import annotations

from graph.resource import ObjectKey
from tests.differential.kinds import COMET, GADGET, GOOSE, MADE_UP
from tests.differential.parts import cluster, gadget, made, secret, topology
from tests.differential.seeding import first_body, is_shared
from tests.differential.world import THERE, Names, World, path_of

NAMES = Names("run-1")


def test_only_names_that_other_runs_could_use_get_a_prefix() -> None:
    assert NAMES.key(gadget("g")) == ObjectKey(GADGET.group, "Gadget", "run-1", "g")
    assert NAMES.key(gadget("g", namespace=THERE)).namespace == "run-1-there"
    assert NAMES.key(made(COMET, "c")) == ObjectKey(COMET.group, "Comet", "", "run-1-c")
    assert NAMES.key(secret("s", namespace="capm3-system")) == ObjectKey("", "Secret", "capm3-system", "run-1-s")


def test_namespaces_in_a_body_are_resolved_and_nothing_else_is() -> None:
    body = first_body(topology("c", "k", "@there"), NAMES, {})
    assert body["spec"]["topology"]["classRef"] == {"name": "k", "namespace": "run-1-there"}
    assert NAMES.resolved({"a": ["@here", "here", 1, None]}) == {"a": ["run-1", "here", 1, None]}


def test_a_reference_has_the_flags_that_were_given_and_no_others() -> None:
    owner = cluster("c")
    thing = gadget("g", owner.owner(controller=True, block=False))
    (reference,) = first_body(thing, NAMES, {NAMES.key(owner): "u"})["metadata"]["ownerReferences"]
    assert reference == {
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "Cluster",
        "name": "c",
        "uid": "u",
        "controller": True,
        "blockOwnerDeletion": False,
    }


def test_an_owner_that_is_not_there_yet_is_left_out() -> None:
    thing = gadget("g", gadget("later").owner())
    assert "ownerReferences" not in first_body(thing, NAMES, {})["metadata"]


def test_a_status_is_in_the_body_only_without_a_status_subresource() -> None:
    assert "status" not in first_body(cluster("c"), NAMES, {})
    stone = next(kind.type for kind in MADE_UP if not kind.type.has_status)
    assert first_body(made(stone, "s", status={"a": 1}), NAMES, {})["status"] == {"a": 1}


def test_what_other_moves_would_see_is_shared() -> None:
    assert is_shared(made(COMET, "c"))
    assert is_shared(secret("s", namespace="capm3-system"))
    assert not is_shared(gadget("g", namespace=THERE))


def test_paths_use_the_plural_of_the_type() -> None:
    assert path_of(NAMES.key(made(GOOSE, "g")), GOOSE) == "/apis/made-up.example.com/v1/namespaces/run-1/geese/g"
    assert path_of(NAMES.key(made(COMET, "c")), COMET) == "/apis/made-up.example.com/v1/comets/run-1-c"


def test_a_world_is_printed_one_line_per_object() -> None:
    world = World((cluster("c"), gadget("g", cluster("c").owner())), (gadget("g", labels={"a": "b"}),))
    lines = str(world).splitlines()
    assert len(lines) == 3
    assert lines[1] == "  Gadget.made-up.example.com here/g < Cluster c"
    assert lines[2].startswith("  on the target: Gadget")
