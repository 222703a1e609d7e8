"""Tests of moving single Clusters out of a namespace: what goes, what is shared, what stays, and why."""

# The docstrings draw the graphs: -> is a hard owner, ~> a soft one, => uses, by a reference.

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from graph import rules
from graph.belonging import homes, matches
from graph.build import build
from graph.mentions import Directory
from graph.resource import Object
from graph.selection import Fate, Rule, Scope, Selection, select
from tests.unit.graph_builders import WIDGET, make, resource_type, unseen

A, B = make(rules.CLUSTER, "a"), make(rules.CLUSTER, "b")
IDENTITY = ("infrastructure.cluster.x-k8s.io", "StaticIdentity")


def split(*objects: Object, clusters: Iterable[Object] = (A,), hosts: Iterable[Object] = ()) -> Selection:
    """Returns the selection when Cluster a goes and Cluster b stays."""
    chosen, taken = frozenset(obj.key for obj in clusters), frozenset(obj.key for obj in hosts)
    return select(build((A, B, *objects)), Scope("ns", clusters=chosen, hosts=taken))


def decided(selection: Selection, obj: Object) -> tuple[Fate, Rule]:
    made = selection.decisions[obj.uid]
    return made.fate, made.rule


def machine_of(cluster: Object, name: str, **spec: Any) -> Object:
    return make(rules.METAL3_MACHINE, name, owners=[cluster], spec=spec)


def host_of(machine: Object, name: str, **spec: Any) -> Object:
    consumer = {"kind": "Metal3Machine", "name": machine.key.name, "namespace": "ns"}
    return make(rules.BARE_METAL_HOST, name, spec={"consumerRef": consumer, **spec})


def test_a_cluster_goes_with_all_that_is_below_it_and_another_stays_with_its_own() -> None:
    """
    a -> m    a ~> a-ca
    b -> n
    """
    m, n = make(rules.MACHINE, "m", owners=[A]), make(rules.MACHINE, "n", owners=[B])
    ca = make(rules.SECRET, "a-ca")
    selection = split(m, n, ca)
    assert set(selection.moved) == {A, m, ca}
    assert set(selection.left) == {B, n}
    assert decided(selection, n) == (Fate.LEAVE, Rule.OF_OTHERS)
    assert selection.decisions[n.uid].reason == "It belongs to Cluster ns/b, which stays."
    assert selection.decisions[B.uid].reason == "It is not one of the Clusters that are moved."


def test_two_chosen_clusters_share_nothing_with_those_that_stay() -> None:
    """k ~> c, d"""
    klass = make(rules.CLUSTER_CLASS, "k")
    c, d = (make(rules.CLUSTER, name, spec={"topology": {"class": "k"}}) for name in "cd")
    selection = split(klass, c, d, clusters=(c, d))
    assert set(selection.moved) == {klass, c, d}
    assert not selection.kept


def test_a_class_that_a_staying_cluster_uses_is_kept_with_its_templates() -> None:
    """
    k ~> c, d
    k -> t
    unused
    """
    klass, unused = make(rules.CLUSTER_CLASS, "k"), make(rules.CLUSTER_CLASS, "unused")
    template = make(rules.METAL3_MACHINE_TEMPLATE, "t", owners=[klass])
    c, d = (make(rules.CLUSTER, name, spec={"topology": {"classRef": {"name": "k"}}}) for name in "cd")
    selection = split(klass, unused, template, c, d, clusters=(c,))
    assert set(selection.kept) == {klass, template}
    assert selection.decisions[template.uid].rule is Rule.SHARED
    assert selection.decisions[klass.uid].reason == (
        "Cluster ns/d, which stays, uses it, too: it is copied, and kept on the source."
    )
    assert selection.moved == (c,)
    assert decided(selection, unused) == (Fate.LEAVE, Rule.OF_OTHERS)


def test_a_template_that_only_a_staying_clusters_object_names_is_shared() -> None:
    """
    a -> t
    b -> md => t
    """
    template = make(rules.METAL3_MACHINE_TEMPLATE, "t", owners=[A])
    reference = {"apiGroup": rules.INFRA_GROUP, "kind": "Metal3MachineTemplate", "name": "t"}
    deployment = make(
        rules.MACHINE_DEPLOYMENT, "md", owners=[B], spec={"template": {"spec": {"infrastructureRef": reference}}}
    )
    assert decided(split(template, deployment), template) == (Fate.KEEP, Rule.SHARED)


def test_a_label_ties_an_object_to_its_cluster() -> None:
    labels = {rules.MOVE_LABEL: "", rules.CLUSTER_NAME_LABEL: "a"}
    tied = make(WIDGET, "tied", labels=labels)
    other = make(WIDGET, "other", labels=labels | {rules.CLUSTER_NAME_LABEL: "b"})
    loose = make(WIDGET, "loose", labels={rules.MOVE_LABEL: ""})
    selection = split(tied, other, loose)
    assert decided(selection, tied) == (Fate.MOVE, Rule.OF_CHOSEN)
    assert decided(selection, other) == (Fate.LEAVE, Rule.OF_OTHERS)
    assert selection.decisions[loose.uid].reason == "It belongs to no Cluster that is moved."


def test_what_no_label_and_no_owner_moves_stays_even_if_it_bears_the_clusters_name() -> None:
    stranger = make(WIDGET, "w", labels={rules.CLUSTER_NAME_LABEL: "a"})
    assert decided(split(stranger), stranger) == (Fate.LEAVE, Rule.NOT_IN_HIERARCHY)


def test_a_claimed_host_goes_with_the_machine_that_claims_it_and_all_its_own() -> None:
    """
    a -> m => h -> h-bmc, h-settings    HardwareData h
    """
    machine = machine_of(A, "m")
    host = host_of(machine, "h", userData={"name": "data", "namespace": "ns"})
    own = (
        make(rules.SECRET, "h-bmc", owners=[host]),
        make(rules.HOST_FIRMWARE_SETTINGS, "h", owners=[host]),
        make(rules.HARDWARE_DATA, "h"),
        make(rules.SECRET, "data"),
    )
    selection = split(machine, host, *own)
    assert set(selection.moved) == {A, machine, host, *own}


def test_spare_hosts_stay_unless_they_are_chosen() -> None:
    """s -> s-bmc"""
    spare, other = make(rules.BARE_METAL_HOST, "s"), make(rules.BARE_METAL_HOST, "other")
    credentials = make(rules.SECRET, "s-bmc", owners=[spare])
    assert set(split(spare, other, credentials).left) == {B, spare, other, credentials}
    selection = split(spare, other, credentials, hosts=[spare])
    assert set(selection.moved) == {A, spare, credentials}
    assert "spare host" in selection.decisions[other.uid].reason


def test_a_chosen_host_that_a_staying_cluster_claims_stays() -> None:
    host = host_of(machine_of(B, "n"), "h")
    assert decided(split(machine_of(B, "n"), host, hosts=[host]), host) == (Fate.LEAVE, Rule.OF_OTHERS)


def test_credentials_of_hosts_on_both_sides_are_kept_without_the_staying_owner() -> None:
    """
    a -> m => h -> bmc
    b -> n => i -> bmc
    """
    m, n = machine_of(A, "m"), machine_of(B, "n")
    h, i = host_of(m, "h"), host_of(n, "i")
    bmc = make(rules.SECRET, "bmc", owners=[h, i])
    selection = split(m, n, h, i, bmc)
    assert decided(selection, bmc) == (Fate.KEEP, Rule.SHARED)
    assert selection.dropped_owners(bmc.uid) == {i.uid}
    assert selection.outside_owners == ()


def test_credentials_that_a_spare_host_uses_too_are_kept() -> None:
    machine = machine_of(A, "m")
    host = host_of(machine, "h", bmc={"credentialsName": "bmc"})
    spare = make(rules.BARE_METAL_HOST, "s", spec={"bmc": {"credentialsName": "bmc"}})
    bmc = make(rules.SECRET, "bmc", owners=[host])
    selection = split(machine, host, spare, bmc)
    assert decided(selection, bmc) == (Fate.KEEP, Rule.SHARED)
    assert "BareMetalHost ns/s, which stays" in selection.decisions[bmc.uid].reason


def test_an_owner_that_was_never_seen_is_not_dropped() -> None:
    bmc = make(rules.SECRET, "bmc", owners=[A, B, unseen()])
    selection = split(bmc)
    assert [reference.name for _, reference in selection.outside_owners] == ["ghost"]


def test_a_firmware_schema_of_hosts_on_both_sides_is_kept() -> None:
    m, n = machine_of(A, "m"), machine_of(B, "n")
    h, i = host_of(m, "h"), host_of(n, "i")
    settings = [make(rules.HOST_FIRMWARE_SETTINGS, host.key.name, owners=[host]) for host in (h, i)]
    schema = make(rules.FIRMWARE_SCHEMA, "schema", owners=settings)
    assert decided(split(m, n, h, i, *settings, schema), schema) == (Fate.KEEP, Rule.SHARED)


def claim_of(cluster: Object, name: str, pool: Object) -> Object:
    return make(rules.IP_CLAIM, name, owners=[cluster], spec={"pool": {"name": pool.key.name}})


def address_of(claim: Object, pool: Object) -> Object:
    spec = {"pool": {"name": pool.key.name}, "claim": {"name": claim.key.name}}
    return make(rules.IP_ADDRESS, f"{claim.key.name}-1", owners=[pool, claim], spec=spec)


def test_a_pool_whose_claims_all_go_goes() -> None:
    pool = make(rules.IP_POOL, "p")
    claim = claim_of(A, "x", pool)
    address = address_of(claim, pool)
    assert {pool, claim, address} < set(split(pool, claim, address).moved)


def test_a_pool_that_serves_both_sides_cannot_be_split_and_is_the_only_one_to_blame() -> None:
    """
    a -> x => p <= y <- b
    p, x -> address
    """
    pool = make(rules.IP_POOL, "p")
    x, y = claim_of(A, "x", pool), claim_of(B, "y", pool)
    ours, theirs = address_of(x, pool), address_of(y, pool)
    selection = split(pool, x, y, ours, theirs)
    assert decided(selection, pool) == (Fate.LEAVE, Rule.CANNOT_BE_SPLIT)
    reason = "It belongs to Cluster ns/a, which moves, and to Cluster ns/b, which stays."
    assert selection.decisions[pool.uid].reason == reason
    assert [uid for uid, made in selection.decisions.items() if made.rule is Rule.CANNOT_BE_SPLIT] == [pool.uid]
    assert decided(selection, ours) == (Fate.MOVE, Rule.OF_CHOSEN)
    assert decided(selection, theirs) == (Fate.LEAVE, Rule.OF_OTHERS)


def test_a_pool_that_only_a_template_of_a_staying_cluster_names_cannot_be_split() -> None:
    pool = make(rules.IP_POOL, "p", owners=[A])
    networks = {"networkData": {"networks": {"ipv4": [{"ipAddressFromIPPool": "p"}]}}}
    template = make(rules.METAL3_DATA_TEMPLATE, "t", owners=[B], spec=networks)
    assert decided(split(pool, template), pool) == (Fate.LEAVE, Rule.CANNOT_BE_SPLIT)


def test_a_data_template_of_two_clusters_hands_out_indexes_and_cannot_be_split() -> None:
    template = make(rules.METAL3_DATA_TEMPLATE, "t")
    machines = (machine_of(A, "m", dataTemplate={"name": "t"}), machine_of(B, "n", dataTemplate={"name": "t"}))
    assert decided(split(template, *machines), template) == (Fate.LEAVE, Rule.CANNOT_BE_SPLIT)


def test_a_machine_of_two_clusters_cannot_be_split_nor_what_is_below_it() -> None:
    machine = make(rules.MACHINE, "m", owners=[A, B])
    below = make(rules.METAL3_MACHINE, "m", owners=[machine])
    selection = split(machine, below)
    assert decided(selection, machine) == (Fate.LEAVE, Rule.CANNOT_BE_SPLIT)
    assert decided(selection, below) == (Fate.LEAVE, Rule.BELOW_CANNOT_BE_SPLIT)


def test_a_resource_set_that_applies_to_both_sides_is_kept_and_each_binding_follows_its_cluster() -> None:
    """
    crs -> addon, a, b (bindings)
    a -> a (binding)
    """
    clusters = [make(rules.CLUSTER, name, labels={"cni": "yes"}) for name in "cd"]
    selector = {"matchLabels": {"cni": "yes"}}
    resources = [{"kind": "ConfigMap", "name": "addon"}]
    crs = make(rules.CLUSTER_RESOURCE_SET, "crs", spec={"clusterSelector": selector, "resources": resources})
    addon = make(rules.CONFIG_MAP, "addon", owners=[crs])
    bindings = [
        make(rules.CLUSTER_RESOURCE_SET_BINDING, one.key.name, owners=[one, crs], spec={"clusterName": one.key.name})
        for one in clusters
    ]
    selection = split(*clusters, crs, addon, *bindings, clusters=clusters[:1])
    assert set(selection.kept) == {crs, addon}
    assert set(selection.moved) == {clusters[0], bindings[0]}
    assert bindings[1] in selection.left


def test_a_resource_set_that_was_applied_to_a_staying_cluster_is_kept() -> None:
    crs = make(rules.CLUSTER_RESOURCE_SET, "crs", spec={"clusterSelector": {"matchLabels": {"x": "y"}}})
    bindings = [
        make(
            rules.CLUSTER_RESOURCE_SET_BINDING,
            one.key.name,
            spec={"clusterName": one.key.name, "bindings": [{"clusterResourceSetName": "crs"}]},
        )
        for one in (A, B)
    ]
    assert decided(split(crs, *bindings), crs) == (Fate.KEEP, Rule.SHARED)
    assert decided(split(crs, bindings[0]), crs) == (Fate.MOVE, Rule.OF_CHOSEN)


def test_a_cluster_scoped_identity_is_kept_if_a_chosen_cluster_uses_it() -> None:
    """a -> infra => identity"""
    kind = resource_type(IDENTITY, namespaced=False, move_hierarchy=True)
    used, unused = make(kind, "used"), make(kind, "unused")
    infra = make(WIDGET, "infra", owners=[A], spec={"identityRef": {"kind": "StaticIdentity", "name": "used"}})
    selection = split(used, unused, infra)
    assert decided(selection, used) == (Fate.KEEP, Rule.CLUSTER_SCOPED)
    assert decided(selection, unused) == (Fate.LEAVE, Rule.OF_OTHERS)


def test_a_class_of_another_namespace_is_left_if_only_staying_clusters_use_it() -> None:
    klass = make(rules.CLUSTER_CLASS, "k", namespace="classes")
    user = make(rules.CLUSTER, "c", spec={"topology": {"classRef": {"name": "k", "namespace": "classes"}}})
    assert decided(split(klass, user), klass) == (Fate.LEAVE, Rule.OF_OTHERS)
    assert decided(split(klass, user, clusters=[user]), klass) == (Fate.KEEP, Rule.CLASS_OUTSIDE_NAMESPACE)


def test_recorded_objects_move_whatever_is_chosen() -> None:
    scope = Scope("ns", clusters=frozenset({A.key}), exactly=frozenset({B.uid}))
    assert select(build((A, B)), scope).moved == (B,)


@pytest.mark.parametrize(
    ("spec", "kind", "found"),
    [
        ({"files": [{"contentFrom": {"secret": {"name": "x", "key": "k"}}}]}, rules.SECRET, True),
        ({"credentialsName": "x"}, rules.SECRET, True),
        ({"identityRef": {"name": "x", "kind": "Secret"}}, rules.SECRET, True),
        ({"identityRef": {"name": "x", "kind": "Other"}}, rules.SECRET, False),
        ({"secretRef": {"name": "x", "namespace": "other"}}, rules.SECRET, False),
        ({"ref": {"name": "x", "kind": "Secret", "apiVersion": "v1"}}, rules.SECRET, True),
        ({"ref": {"name": "x", "kind": "Secret", "apiVersion": "example.org/v1"}}, rules.SECRET, False),
        ({"configMapName": "x"}, rules.CONFIG_MAP, True),
        ({"displayName": "x"}, rules.SECRET, False),
        ({"consumerRef": {"name": "x", "kind": "Secret"}}, rules.SECRET, False),
        ({"metaData": {"ipAddressesFromIPPool": [{"key": "ip", "name": "x"}]}}, rules.IP_POOL, True),
    ],
)
def test_what_is_named_in_a_spec_is_found(spec: dict[str, Any], kind: tuple[str, str], found: bool) -> None:
    named, namer = make(kind, "x"), make(WIDGET, "w", spec=spec)
    assert (named in Directory([named, namer]).mentioned(namer)) is found


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, False),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, False),
        ({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
    ],
)
def test_a_label_selector_selects_as_kubernetes_has_it(selector: dict[str, Any], selected: bool) -> None:
    assert matches(selector, {"a": "1"}) is selected


def test_owners_in_a_circle_share_their_homes() -> None:
    """
    a -> x -> y -> x
    """
    x = make(WIDGET, "x")
    y = make(WIDGET, "y", owners=[x])
    x = make(WIDGET, "x", owners=[A, y])
    found = homes(build((A, x, y)))
    assert found[x.uid] == found[y.uid] == {A.uid}
