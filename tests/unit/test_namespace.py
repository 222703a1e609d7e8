"""Moving into another namespace: what is rewritten, what is refused, what stays."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph import rules
from graph.resource import Object, parse_object
from graph.rules import GroupKind
from mover.errors import UsageError
from mover.namespace import (
    CONVERSION_ANNOTATION,
    HOST_ANNOTATION,
    LAST_APPLIED_ANNOTATION,
    RULES,
    Form,
    check_rules,
    kept_provider_ids,
    namespace_mutator,
    unknown_references,
)
from tests.testbed.fleet import FleetSpec, drafts
from tests.testbed.fleet.build import amended, first_body
from tests.testbed.fleet.model import Draft
from tests.unit.mover_builders import make

OLD, NEW = "metal3", "elsewhere"
UID_PROVIDER_ID = "metal3://5f1c0b52-5a0f-4b3e-9a57-9a4e3c5d5d11"
FLEETS = [
    FleetSpec(),
    FleetSpec(clusters=2, topology=True, host_owners=True),
    FleetSpec(namespace="default", cluster_name="default", host_name="default"),
    FleetSpec(namespace="metal3-io", cluster_name="metal3-io"),
]
MANY = 5

move = namespace_mutator(OLD, NEW)


def body_of(kind: GroupKind, name: str = "x", **fields: Any) -> dict[str, Any]:
    group, plain = kind
    made: dict[str, Any] = {"apiVersion": f"{group}/v1" if group else "v1", "kind": plain}
    metadata = {"name": name, "namespace": OLD, **fields.pop("metadata", {})}
    return {**made, "metadata": metadata, **fields}


def annotated(kind: GroupKind, **annotations: str) -> dict[str, Any]:
    return body_of(kind, metadata={"annotations": annotations})


def unknown(kind: GroupKind, fields: Mapping[str, Any], *others: Object) -> list[str]:
    """Returns what is said about an object `x` that moves with others."""
    obj = make(kind, namespace=OLD, **fields)
    return [problem.what for problem in unknown_references((obj, *others), OLD)]


def merged(tree: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the tree after a JSON merge patch (RFC 7386)."""
    result = dict(tree) if isinstance(tree, Mapping) else {}
    for name, value in patch.items():
        result[name] = merged(result.get(name), value) if isinstance(value, Mapping) else value
    return result


def finished(draft: Draft) -> Object:
    """Returns the object of a fleet as it is once all is provisioned."""
    body = first_body(draft, [])
    for amendment in draft.amendments:
        body = merged(body, amended(amendment, []))
    if draft.status is not None:
        body["status"] = draft.status
    return parse_object(draft.type, json.loads(json.dumps(body)))


def fleet(spec: FleetSpec) -> tuple[Object, ...]:
    return tuple(map(finished, drafts(spec)))


def strings(tree: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yields every string of a body with the key it is under, and those of the JSON in strings."""
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from strings(value, name)
    elif isinstance(tree, list):
        for entry in tree:
            yield from strings(entry, key)
    elif isinstance(tree, str):
        yield key, tree
        if tree.startswith('{"'):
            yield from strings(json.loads(tree))


def remains(body: Mapping[str, Any], old: str) -> list[tuple[str, str]]:
    """Returns the strings of a body that hold the old namespace as a reference to it, but for provider IDs."""
    texts = [(key, text) for key, text in strings(body) if key != "providerID"]
    return [
        (key, text)
        for key, text in texts
        if (key.lower().endswith("namespace") and text == old) or text.startswith(f"{old}/") or f"://{old}/" in text
    ]


# --- A whole fleet --------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", FLEETS, ids=lambda spec: f"{spec.namespace}-{spec.clusters}")
def test_a_fleet_has_no_unknown_reference(spec: FleetSpec) -> None:
    assert unknown_references(fleet(spec), spec.namespace) == []


@pytest.mark.parametrize("spec", FLEETS, ids=lambda spec: f"{spec.namespace}-{spec.clusters}")
def test_the_old_namespace_is_nowhere_in_a_moved_fleet_but_in_provider_ids(spec: FleetSpec) -> None:
    mutate = namespace_mutator(spec.namespace, NEW)
    originals = [obj.body() for obj in fleet(spec)]
    assert any(len(remains(body, spec.namespace)) > MANY for body in originals)
    assert [found for body in originals for found in remains(mutate(body), spec.namespace)] == []


@pytest.mark.parametrize("spec", FLEETS, ids=lambda spec: f"{spec.namespace}-{spec.clusters}")
def test_a_fleet_that_went_there_and_back_is_as_it_was(spec: FleetSpec) -> None:
    there, back = namespace_mutator(spec.namespace, NEW), namespace_mutator(NEW, spec.namespace)
    for obj in fleet(spec):
        assert back(there(obj.body())) == obj.body()


def test_the_names_of_a_fleet_stay_when_they_are_the_namespace() -> None:
    spec = FleetSpec(namespace="prod-1")
    moved = [namespace_mutator("prod-1", NEW)(obj.body()) for obj in fleet(spec)]
    cluster = next(body for body in moved if body["kind"] == "Cluster")
    machine = next(body for body in moved if body["kind"] == "Machine")
    assert cluster["metadata"]["name"] == "prod-1"
    assert cluster["spec"]["infrastructureRef"]["name"] == "prod-1"
    assert machine["spec"]["clusterName"] == machine["metadata"]["labels"][rules.CLUSTER_NAME_LABEL] == "prod-1"


# --- Rules ----------------------------------------------------------------------------------------


def test_every_rule_says_where_it_comes_from() -> None:
    assert all(rule.source for rule in RULES)


def filled(steps: list[str], value: Any) -> Any:
    """Returns the tree in which the value is at the end of the path."""
    if not steps:
        return value
    step, *rest = steps
    below = filled(rest, value)
    return {step.removesuffix("[]"): [below] if step.endswith("[]") else below}


def alternatives(field: str) -> list[str]:
    head, brace, rest = field.partition("{")
    choices, _, tail = rest.partition("}")
    return [f"{head}{choice}{tail}" for choice in choices.split(",")] if brace else [field]


FIELDS = [
    pytest.param(kind, path, id=f"{kind[1]}-{path}")
    for rule in RULES
    if rule.form is Form.NAMESPACE
    for kind in rule.kinds
    for path in alternatives(rule.field)
]


@pytest.mark.parametrize(("kind", "path"), FIELDS)
def test_each_field_of_the_table_is_rewritten_if_it_is_the_old_namespace(kind: GroupKind, path: str) -> None:
    def body(value: str) -> dict[str, Any]:
        return body_of(kind, **filled(path.split("."), value))

    moved_metadata = {"metadata": {"name": "x", "namespace": NEW}}
    assert move(body(OLD)) == body(NEW) | moved_metadata
    assert move(body("third")) == body("third") | moved_metadata


def test_an_object_of_another_namespace_stays_there_and_its_references_are_rewritten() -> None:
    body = body_of(rules.IP_ADDRESS, metadata={"namespace": "third"}, spec={"pool": {"name": "p", "namespace": OLD}})
    moved = move(body)
    assert moved["metadata"]["namespace"] == "third"
    assert moved["spec"]["pool"]["namespace"] == NEW


def test_a_cluster_scoped_object_gets_no_namespace() -> None:
    assert move({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "x"}})["metadata"] == {"name": "x"}


def test_an_object_reference_is_rewritten_wherever_it_is() -> None:
    reference = {"apiVersion": "g/v1", "kind": "K", "name": "x", "namespace": OLD}
    spec = {"workers": {"machineDeployments": [{"template": {"bootstrap": {"ref": reference}}}]}}
    moved = move(body_of(rules.CLUSTER_CLASS, spec=spec))["spec"]["workers"]["machineDeployments"][0]
    assert moved["template"]["bootstrap"]["ref"] == {**reference, "namespace": NEW}


def test_the_host_of_a_metal3_machine_is_rewritten() -> None:
    moved = move(annotated(rules.METAL3_MACHINE, **{HOST_ANNOTATION: f"{OLD}/node-1"}))
    assert moved["metadata"]["annotations"] == {HOST_ANNOTATION: f"{NEW}/node-1"}


@pytest.mark.parametrize("kind", [rules.MACHINE, rules.METAL3_MACHINE])
@pytest.mark.parametrize("provider_id", [f"metal3://{OLD}/node-1/m-1", UID_PROVIDER_ID])
def test_a_provider_id_stays(kind: GroupKind, provider_id: str) -> None:
    assert move(body_of(kind, spec={"providerID": provider_id}))["spec"] == {"providerID": provider_id}


def test_field_managers_and_the_data_of_secrets_and_configmaps_stay() -> None:
    managed = [{"manager": "m", "fieldsV1": {'k:{"name":"x","namespace":"metal3"}': {}, "namespace": OLD}}]
    body = body_of(rules.SECRET, metadata={"managedFields": managed}, data={"namespace": OLD})
    assert move(body) == body | {"metadata": body["metadata"] | {"namespace": NEW}}


def test_the_argument_is_not_changed() -> None:
    for obj in fleet(FleetSpec(workers=1)):
        body = obj.body()
        before = copy.deepcopy(body)
        move(body)
        assert body == before


# --- JSON in annotations --------------------------------------------------------------------------

REFERRING = {"spec": {"consumerRef": {"kind": "K", "name": "<é>&x", "namespace": OLD}, "online": True}}


def as_go(tree: Any) -> str:
    text = json.dumps(tree, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026") + "\n"


STYLES: list[Callable[[Any], str]] = [
    as_go,
    json.dumps,
    lambda tree: json.dumps(tree, ensure_ascii=False),
    lambda tree: json.dumps(tree, separators=(",", ":")),
    lambda tree: json.dumps(tree, separators=(",", ":"), ensure_ascii=False) + "\n",
]


@pytest.mark.parametrize("annotation", [LAST_APPLIED_ANNOTATION, CONVERSION_ANNOTATION])
@pytest.mark.parametrize("written", STYLES)
def test_an_object_in_an_annotation_is_rewritten_in_the_style_it_has(
    written: Callable[[Any], str], annotation: str
) -> None:
    moved = {"spec": {**REFERRING["spec"], "consumerRef": {"kind": "K", "name": "<é>&x", "namespace": NEW}}}
    got = move(annotated(rules.BARE_METAL_HOST, **{annotation: written(REFERRING)}))
    assert got["metadata"]["annotations"][annotation] == written(moved)


def test_what_was_last_applied_gets_the_new_namespace() -> None:
    applied = json.dumps(body_of(rules.BARE_METAL_HOST, spec={"userData": {"name": "u", "namespace": OLD}}))
    moved = move(annotated(rules.BARE_METAL_HOST, **{LAST_APPLIED_ANNOTATION: applied}))
    again = json.loads(moved["metadata"]["annotations"][LAST_APPLIED_ANNOTATION])
    assert again["metadata"]["namespace"] == again["spec"]["userData"]["namespace"] == NEW


def test_the_saved_status_of_a_host_is_rewritten() -> None:
    status = {"goodCredentials": {"credentials": {"name": "bmc", "namespace": OLD}}, "errorMessage": ""}
    moved = move(annotated(rules.BARE_METAL_HOST, **{rules.HOST_STATUS_ANNOTATION: json.dumps(status)}))
    saved = json.loads(moved["metadata"]["annotations"][rules.HOST_STATUS_ANNOTATION])
    assert saved["goodCredentials"]["credentials"]["namespace"] == NEW


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", "3", '{"spec":', '{"spec": {"x": 1.50}}', "[" * 20_000])
def test_an_annotation_without_a_reference_stays_byte_for_byte(text: str) -> None:
    for annotation in (LAST_APPLIED_ANNOTATION, rules.HOST_STATUS_ANNOTATION):
        moved = move(annotated(rules.BARE_METAL_HOST, **{annotation: text}))
        assert moved["metadata"]["annotations"] == {annotation: text}


# --- Unknown references ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"spec": {"where": {"namespace": OLD}}}, "spec.where.namespace"),
        ({"spec": {"targetNamespace": OLD}}, "spec.targetNamespace"),
        ({"spec": {"namespaces": ["a", OLD]}}, "spec.namespaces[1]"),
        ({"spec": {"host": f"{OLD}/x"}}, "spec.host"),
        ({"spec": {"id": f"{OLD}/x/more"}}, "spec.id"),
        ({"spec": {"files": [{"content": f"--provider-id=metal3://{OLD}/x/y\n"}]}}, "spec.files[0].content"),
        ({"status": {"bound": {"name": "x", "namespace": OLD}}}, "status.bound.namespace"),
        ({"data": {"cluster.id": f"tinkerbell://{OLD}/x"}}, "data[cluster.id]"),
        ({"metadata": {"annotations": {"a/ref": f"{OLD}/not-moved"}}}, "metadata.annotations[a/ref]"),
        ({"metadata": {"annotations": {"a/refs": f"b/c, {OLD}/d"}}}, "metadata.annotations[a/refs]"),
        ({"metadata": {"annotations": {"a/id": f"app:g/K:{OLD}/x"}}}, "metadata.annotations[a/id]"),
        ({"metadata": {"annotations": {"a/release-namespace": OLD}}}, "metadata.annotations[a/release-namespace]"),
        ({"metadata": {"annotations": {"a": f'{{"b":[{{"namespace":"{OLD}"}}]}}'}}}, "metadata.annotations[a].b[0]"),
        ({"metadata": {"labels": {"a/namespace": OLD}}}, "metadata.labels[a/namespace]"),
    ],
)
def test_a_reference_without_a_rule_is_a_problem_that_names_its_field(fields: dict[str, Any], path: str) -> None:
    (found,) = unknown(rules.CONFIG_MAP, fields)
    assert found.startswith(path)
    assert OLD in found


def test_a_problem_names_the_object_and_a_remedy() -> None:
    obj = make(rules.CLUSTER, "prod", namespace=OLD, spec={"fooNamespace": OLD})
    (problem,) = unknown_references([obj], OLD)
    assert (problem.check, problem.cluster, problem.subject) == ("to-namespace", "source", f"Cluster {OLD}/prod")
    assert problem.remedy


def test_an_unknown_reference_inside_what_was_last_applied_is_a_problem() -> None:
    applied = json.dumps({"metadata": {"namespace": OLD}, "spec": {"fooNamespace": OLD}})
    found = unknown(rules.CLUSTER, {"metadata": {"annotations": {LAST_APPLIED_ANNOTATION: applied}}})
    assert [text.partition(" (")[0] for text in found] == [
        f"metadata.annotations[{LAST_APPLIED_ANNOTATION}]: spec.fooNamespace"
    ]


@pytest.mark.parametrize("kind", [rules.METAL3_MACHINE_TEMPLATE, rules.MACHINE_SET, ("x.io", "OtherMachine")])
def test_a_provider_id_where_none_is_known_is_a_problem(kind: GroupKind) -> None:
    assert len(unknown(kind, {"spec": {"providerID": f"metal3://{OLD}/x/y"}})) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"spec": {"clusterName": OLD, "names": [OLD], "nameSpaced": OLD}},
        {"spec": {"image": f"{OLD}/ironic", "path": f"/a/{OLD}/x", "text": f"see {OLD}/x"}},
        {"spec": {"url": f"http://{OLD}/x", "bmc": f"redfish-virtualmedia+https://{OLD}/x", "oci": f"oci://{OLD}/x"}},
        {"spec": {"url": f"http://x/{OLD}/", "provider": f"metal3://{OLD}", "other": f"metal3://{OLD}-2/x"}},
        {"status": {"conditions": [{"message": f"Waiting for a Node with spec.providerID metal3://{OLD}/x/y"}]}},
        {"metadata": {"annotations": {"a": OLD, "b": f"{OLD}/v1beta1", "c": f"{OLD}/UnhealthyNode", "d": f"{OLD}/"}}},
        {"metadata": {"labels": {"a": OLD, f"{OLD}/namespaced": OLD}, "finalizers": [f"{OLD}/x"]}},
        {"spec": {"ref": {"name": "x", "namespace": "third"}, "namespace": f"{OLD}-2"}},
    ],
)
def test_the_word_alone_is_no_reference(fields: dict[str, Any]) -> None:
    assert unknown(rules.CONFIG_MAP, fields) == []


def test_the_name_of_any_object_of_the_move_counts() -> None:
    reference = {"spec": {"host": f"{OLD}/node-1"}}
    assert unknown(rules.CONFIG_MAP, reference) == []
    assert len(unknown(rules.CONFIG_MAP, reference, make(rules.BARE_METAL_HOST, "node-1"))) == 1


def test_nothing_of_a_secret_is_looked_at_or_shown() -> None:
    data = {"data": {"namespace": OLD}, "stringData": {"x": f"metal3://{OLD}/password"}}
    applied = {**body_of(rules.SECRET), **data}
    annotations = {LAST_APPLIED_ANNOTATION: json.dumps(applied), "a": f"x://{OLD}/password"}
    (found,) = unknown(rules.SECRET, {"metadata": {"annotations": annotations}, **data})
    assert found.startswith("metadata.annotations[a] ")
    assert "password" not in found


# --- Provider IDs ---------------------------------------------------------------------------------


def test_each_provider_id_that_holds_the_namespace_is_named() -> None:
    objects = fleet(FleetSpec())
    problems = kept_provider_ids(objects, OLD)
    machines = [obj for obj in objects if obj.type.group_kind in {rules.MACHINE, rules.METAL3_MACHINE}]
    assert [problem.subject for problem in problems] == [str(obj) for obj in machines]
    assert all(f"spec.providerID is metal3://{OLD}/node-" in problem.what for problem in problems)


@pytest.mark.parametrize("spec", [{}, {"providerID": None}, {"providerID": UID_PROVIDER_ID}])
def test_a_provider_id_without_the_namespace_is_no_problem(spec: dict[str, Any]) -> None:
    assert kept_provider_ids([make(rules.MACHINE, namespace=OLD, spec=spec)], OLD) == []


# --- What is asked for ----------------------------------------------------------------------------


@pytest.mark.parametrize("new", ["a", "0", "fleet-2", "a" * 63])
def test_a_label_is_a_name_for_a_namespace(new: str) -> None:
    check_rules(OLD, new)


@pytest.mark.parametrize("new", ["", "-a", "a-", "A", "a.b", "a/b", "a_b", "a\n", "é", "a" * 64])
def test_no_other_name_is_taken(new: str) -> None:
    with pytest.raises(UsageError, match="no name for a namespace"):
        check_rules(OLD, new)


@pytest.mark.parametrize(("old", "message"), [("", "All namespaces"), (NEW, "already")])
def test_all_namespaces_and_the_same_one_are_refused(old: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_rules(old, NEW)


# --- Laws -----------------------------------------------------------------------------------------

keys = st.sampled_from(
    [
        "kind",
        "name",
        "namespace",
        "spec",
        "status",
        "consumerRef",
        "userData",
        "pool",
        "template",
        "names",
        "xNamespace",
    ]
)
words = st.sampled_from([OLD, f"{OLD}/node-1", f"metal3://{OLD}/node-1/m", "node-1", "third"]) | st.text(
    "ab/<&é\u2028 ", max_size=4
)
scalars = st.none() | st.booleans() | st.integers(-9, 9) | words
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=6
)
objects = st.dictionaries(keys, trees, max_size=3)
texts = words | st.builds(
    lambda tree, ascii_only, end: json.dumps(tree, separators=(",", ":"), ensure_ascii=ascii_only) + end,
    objects,
    st.booleans(),
    st.sampled_from(["", "\n"]),
)
json_annotations = st.dictionaries(
    st.sampled_from(
        [HOST_ANNOTATION, LAST_APPLIED_ANNOTATION, CONVERSION_ANNOTATION, rules.HOST_STATUS_ANNOTATION, "other"]
    ),
    texts,
    max_size=4,
)


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """Returns a body of one of the kinds of the table, with references and with what looks like them."""
    kind = draw(st.sampled_from(sorted({kind for rule in RULES for kind in rule.kinds})))
    metadata = {"namespace": draw(st.sampled_from([OLD, "third"])), "annotations": draw(json_annotations)}
    return body_of(kind, metadata=metadata, spec=draw(objects), status=draw(objects), data=draw(trees))


@given(bodies())
@settings(max_examples=60)
def test_there_and_back_is_the_identity(body: dict[str, Any]) -> None:
    assert namespace_mutator(NEW, OLD)(move(body)) == body


@given(bodies())
@settings(max_examples=60)
def test_moving_twice_is_moving_once_and_leaves_the_argument_alone(body: dict[str, Any]) -> None:
    before = copy.deepcopy(body)
    assert move(move(body)) == move(body)
    assert body == before


@given(bodies())
@settings(max_examples=60)
def test_the_keys_and_their_order_stay(body: dict[str, Any]) -> None:
    def shape(tree: Any) -> Any:
        if isinstance(tree, dict):
            return [(key, shape(value)) for key, value in tree.items()]
        return [shape(entry) for entry in tree] if isinstance(tree, list) else type(tree)

    assert shape(move(body)) == shape(body)
