"""Laws that hold for every graph, cyclic ones and those with unseen owners included."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from graph import rules
from graph.belonging import homes
from graph.build import build
from graph.order import Order, creation_order, cycles, deletion_order
from graph.render import dot, mermaid, to_json, tree
from graph.resource import Object, ObjectKey
from graph.rules import GroupKind
from graph.selection import Fate, Scope, Selection, select
from graph.unit import units
from tests.unit.graph_builders import make, resource_type, unseen

laws = settings(max_examples=100, deadline=None)

KINDS: tuple[GroupKind, ...] = (
    rules.CLUSTER,
    rules.CLUSTER_CLASS,
    rules.CLUSTER_RESOURCE_SET_BINDING,
    rules.SECRET,
    rules.METAL3_CLUSTER,
    rules.METAL3_MACHINE,
    rules.BARE_METAL_HOST,
    ("example.org", "Widget"),
)
NAMES = ("a", "b", "a-ca", "b-kubeconfig")
LABELS = (rules.MOVE_LABEL, rules.MOVE_HIERARCHY_LABEL, rules.CLUSTER_NAME_LABEL)


MOST = 14

numbers = st.integers(0, MOST)
object_keys = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from(("ns", "other")), st.sampled_from(NAMES)),
    unique=True,
    min_size=1,
    max_size=MOST,
)
owner_pairs = st.lists(st.tuples(numbers, numbers), max_size=2 * MOST)
label_pairs = st.lists(st.tuples(numbers, st.sampled_from(LABELS)), max_size=4)


@st.composite
def inputs(draw: st.DrawFn) -> list[Object]:
    """Up to 14 objects, each owned by any of the others, by itself, and by one that was never seen."""
    global_kinds = draw(st.sets(st.sampled_from(KINDS), max_size=2))
    drawn = draw(object_keys)
    unique = dict.fromkeys((kind, "" if kind in global_kinds else space, name) for kind, space, name in drawn)
    types = {kind: resource_type(kind, namespaced=kind not in global_kinds) for kind in KINDS}
    places = draw(st.permutations(range(len(unique))))
    bare = [
        make(types[kind], name, namespace=space, uid=f"uid-{place:02}")
        for place, (kind, space, name) in zip(places, unique, strict=False)
    ]
    owners, labels, shift = draw(owner_pairs), draw(label_pairs), draw(numbers)
    return [with_relations(number, bare, owners, labels, shift) for number in range(len(bare))]


def with_relations(
    number: int,
    bare: list[Object],
    owners: list[tuple[int, int]],
    labels: list[tuple[int, str]],
    shift: int,
) -> Object:
    """Returns one of the bare objects with its owners, labels and a spec."""
    obj = bare[number]
    own = [owner for owner, dependent in owners if dependent == number]
    name = NAMES[(number + shift) % len(NAMES)]
    return make(
        obj.type,
        obj.key.name,
        namespace=obj.key.namespace,
        uid=obj.uid,
        owners=[bare[owner] if owner < len(bare) else unseen() for owner in own],
        labels={label: "a" for other, label in labels if other == number},
        spec={
            "topology": {"class": name, "classNamespace": "ns"},
            "clusterName": name,
            "consumerRef": {"kind": "Metal3Machine", "name": name},
        },
    )


scopes = st.sampled_from((Scope(), Scope("ns"), Scope("other")))


def assert_sequence_obeys_waits(order: Order) -> None:
    place = {uid: number for number, uid in enumerate(order.sequence)}
    assert list(order.waits_for) == list(order.sequence)
    for uid, firsts in order.waits_for.items():
        assert all(place[first] < place[uid] for first in firsts)


def in_a_cycle(selection: Selection, owner: str, dependent: str) -> bool:
    """Returns whether the dependent is above its owner too, by any edges among the selected objects."""
    seen, todo = {dependent}, [dependent]
    while todo:
        for following in selection.graph.dependents(todo.pop()):
            if selection.is_selected(following) and following not in seen:
                seen.add(following)
                todo.append(following)
    return owner in seen


@laws
@given(inputs(), scopes)
def test_every_object_is_moved_kept_or_left_with_a_reason(objects: list[Object], scope: Scope) -> None:
    selection = select(build(objects), scope)
    assert set(selection.decisions) == {obj.uid for obj in objects}
    parts = [*selection.moved, *selection.kept, *selection.left]
    assert sorted(obj.key for obj in parts) == sorted(obj.key for obj in objects)
    assert all(made.reason.endswith(".") for made in selection.decisions.values())


@laws
@given(inputs(), scopes)
def test_a_path_runs_along_owners_down_to_the_object(objects: list[Object], scope: Scope) -> None:
    selection = select(build(objects), scope)
    for uid, made in selection.decisions.items():
        steps = [selection.graph.by_key(key) for key in made.path]
        assert not steps or (steps[-1] is not None and steps[-1].uid == uid)
        for above, below in pairwise(steps):
            assert above is not None
            assert below is not None
            assert selection.graph.digraph.has_edge(above.uid, below.uid)


@laws
@given(inputs(), scopes)
def test_what_is_below_something_selected_by_a_root_is_selected(objects: list[Object], scope: Scope) -> None:
    selection = select(build(objects), scope)
    for owner, uid, _, _ in selection.graph.edges():
        above = selection.decisions.get(owner)
        if above is not None and above.path:
            assert selection.is_selected(uid)


@laws
@given(inputs(), scopes)
def test_every_selected_object_is_created_once_after_its_owners(objects: list[Object], scope: Scope) -> None:
    selection = select(build(objects), scope)
    order = creation_order(selection)
    assert sorted(order.sequence) == sorted(obj.uid for obj in selection.selected)
    assert_sequence_obeys_waits(order)
    for owner, uid, hard, _ in selection.graph.edges():
        if selection.is_selected(owner) and selection.is_selected(uid):
            late = owner in order.late_owners.get(uid, ())
            assert late != (owner in order.waits_for[uid]) or (not hard and in_a_cycle(selection, owner, uid))


@laws
@given(inputs(), scopes)
def test_an_owner_is_late_only_in_a_cycle_and_then_comes_after(objects: list[Object], scope: Scope) -> None:
    selection = select(build(objects), scope)
    order = creation_order(selection)
    place = {uid: number for number, uid in enumerate(order.sequence)}
    together = [set(found) for found in cycles(selection)]
    for uid, owners in order.late_owners.items():
        for owner in owners:
            assert place[owner] >= place[uid]
            assert any({owner, uid} <= found for found in together)


@laws
@given(inputs(), scopes)
def test_dependents_are_deleted_before_their_owners(objects: list[Object], scope: Scope) -> None:
    selection = select(build(objects), scope)
    order = deletion_order(selection)
    assert sorted(order.sequence) == sorted(obj.uid for obj in selection.moved)
    assert_sequence_obeys_waits(order)
    for owner, uid, hard, _ in selection.graph.edges():
        if {selection.decisions[end].fate for end in (owner, uid) if end in selection.decisions} == {Fate.MOVE}:
            if owner in selection.graph.virtual:
                continue
            late = owner in order.late_owners.get(uid, ())
            assert late != (uid in order.waits_for[owner]) or (not hard and in_a_cycle(selection, owner, uid))


@laws
@given(inputs(), scopes)
def test_each_cluster_is_of_one_unit_and_what_is_in_one_place_too(objects: list[Object], scope: Scope) -> None:
    selection = select(build(objects), scope)
    found = units(selection)
    clusters = [key for unit in found for key in unit.clusters]
    assert len(clusters) == len(set(clusters))
    assert all(unit.clusters for unit in found)
    for obj in selection.selected:
        inside = [unit for unit in found if obj.uid in unit.objects]
        assert len(inside) <= 1 or rules.is_shareable(obj.type.group_kind)
        assert all(obj.key in unit.shared for unit in inside) or len(inside) == 1


@laws
@given(inputs(), scopes, st.data())
def test_the_order_of_the_input_changes_nothing(objects: list[Object], scope: Scope, data: st.DataObject) -> None:
    one = select(build(objects), scope)
    two = select(build(data.draw(st.permutations(objects))), scope)
    assert list(one.decisions.items()) == list(two.decisions.items())
    assert one == two
    for result in (creation_order, deletion_order, cycles, units, tree, mermaid, dot, to_json):
        assert result(one) == result(two)


@laws
@given(inputs(), scopes)
def test_other_uids_change_neither_fates_nor_orders(objects: list[Object], scope: Scope) -> None:
    """A move back and forth gives every object a new UID."""
    one, two = (select(build(version), scope) for version in (objects, renamed(objects)))
    assert [(made.fate, made.rule, made.path) for made in one.decisions.values()] == [
        (made.fate, made.rule, made.path) for made in two.decisions.values()
    ]
    for order in (creation_order, deletion_order):
        assert keys(one, order(one)) == keys(two, order(two))
    assert tree(one) == tree(two)


def keys(selection: Selection, order: Order) -> list[str]:
    return [str(selection.graph.objects[uid]) for uid in order.sequence]


def renamed(objects: list[Object]) -> list[Object]:
    """Returns the objects with the UIDs in reverse order."""
    uids = sorted(obj.uid for obj in objects)
    new = dict(zip(uids, reversed(uids), strict=True))
    result = []
    for obj in objects:
        body = obj.body()
        owners = [
            {**owner, "uid": new.get(owner["uid"], owner["uid"])} for owner in body["metadata"]["ownerReferences"]
        ]
        result.append(
            make(
                obj.type,
                obj.key.name,
                namespace=obj.key.namespace,
                uid=new[obj.uid],
                owners=owners,
                labels=obj.labels,
                spec=body["spec"],
            )
        )
    return result


@laws
@given(inputs(), scopes)
def test_a_tree_shows_every_object_whole_exactly_once(objects: list[Object], scope: Scope) -> None:
    selection = select(build(objects), scope)
    lines = [line for line in tree(selection).splitlines() if "[shown elsewhere]" not in line]
    noise = sum(made.rule == "outside-namespace" for made in selection.decisions.values())
    assert len(lines) == len(objects) - noise


def split(objects: list[Object], *chosen: Object) -> Selection:
    """Returns the selection when only these Clusters of the namespace move."""
    return select(build(objects), Scope("ns", clusters=frozenset(obj.key for obj in chosen)))


def clusters_of(objects: list[Object]) -> list[Object]:
    return [obj for obj in objects if obj.type.group_kind == rules.CLUSTER and obj.key.namespace == "ns"]


@laws
@given(inputs(), st.data())
def test_nothing_that_moves_is_used_or_owned_by_what_stays(objects: list[Object], data: st.DataObject) -> None:
    chosen = [obj for obj in clusters_of(objects) if data.draw(st.booleans())]
    selection = split(objects, *chosen)
    found, going = homes(selection.graph), {obj.uid for obj in chosen}
    assert all(found[obj.uid] <= going for obj in selection.moved)
    for obj in selection.moved:
        stays = [owner.uid for owner in obj.owners if not found.get(owner.uid, going) & going]
        # A Cluster is its own; whatever owns it stays by itself.
        assert not stays or obj.type.group_kind == rules.CLUSTER


@laws
@given(inputs(), st.data())
def test_single_clusters_select_nothing_that_their_namespace_would_not(
    objects: list[Object], data: st.DataObject
) -> None:
    chosen = [obj for obj in clusters_of(objects) if data.draw(st.booleans())]
    whole, part = select(build(objects), Scope("ns")), split(objects, *chosen)
    assert {obj.uid for obj in part.selected} <= {obj.uid for obj in whole.selected}
    assert {obj.uid for obj in part.moved} <= {obj.uid for obj in whole.moved}


@laws
@given(inputs(), st.data())
def test_what_goes_with_some_clusters_goes_with_more_of_them(objects: list[Object], data: st.DataObject) -> None:
    clusters = clusters_of(objects)
    more = [obj for obj in clusters if data.draw(st.booleans())]
    fewer = [obj for obj in more if data.draw(st.booleans())]
    some, many = split(objects, *fewer), split(objects, *more)
    assert {obj.uid for obj in some.moved} <= {obj.uid for obj in many.moved}
    assert {obj.uid for obj in some.kept} <= {obj.uid for obj in many.selected}


@laws
@given(inputs())
def test_clusters_taken_one_by_one_take_what_they_take_together_but_for_what_cannot_be_split(
    objects: list[Object],
) -> None:
    clusters = clusters_of(objects)
    taken: dict[ObjectKey, set[Fate]] = {}
    for one in clusters:
        for obj in split(objects, one).selected:
            taken.setdefault(obj.key, set()).add(Fate.MOVE)
    for obj in split(objects, *clusters).moved:
        unsplit = [split(objects, one).decisions[obj.uid].rule for one in clusters]
        assert obj.key in taken or any(rule.endswith("cannot-be-split") for rule in unsplit)


@laws
@given(inputs(), st.data())
def test_no_copy_of_a_shared_object_has_an_owner_that_stays(objects: list[Object], data: st.DataObject) -> None:
    chosen = [obj for obj in clusters_of(objects) if data.draw(st.booleans())]
    selection = split(objects, *chosen)
    for obj in selection.kept:
        dropped = selection.dropped_owners(obj.uid)
        assert dropped <= {owner.uid for owner in obj.owners}
        assert not any(selection.is_selected(uid) for uid in dropped)


@laws
@given(inputs(), st.data())
def test_other_uids_change_nothing_of_a_split(objects: list[Object], data: st.DataObject) -> None:
    chosen = [obj for obj in clusters_of(objects) if data.draw(st.booleans())]
    one, two = split(objects, *chosen), split(renamed(objects), *chosen)
    assert [(made.fate, made.rule, made.path, made.reason) for made in one.decisions.values()] == [
        (made.fate, made.rule, made.path, made.reason) for made in two.decisions.values()
    ]
