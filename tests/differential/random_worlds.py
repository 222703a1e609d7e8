"""Random small worlds over real and made-up kinds, for hypothesis."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from graph import rules
from tests.differential.kinds import BINDING, COMET, GADGET, GALAXY, GHOST, PLANET, REALM, ROVER, STONE
from tests.differential.parts import INITIALISED, binding, cluster, cluster_class, config_map, made, secret
from tests.differential.scenario import Scenario, Verdict
from tests.differential.world import HERE, THERE, Owner, Thing, World
from tests.testbed.fleet.model import CLUSTER, CONFIG_MAP, SECRET

_LARGEST = 12
_PROVIDER_NAMESPACE = "capm3-system"
_MADE_UP = (GADGET, GADGET, REALM, ROVER, GHOST, STONE)
_GLOBAL = (PLANET, COMET, GALAXY)
_LABELS = (rules.MOVE_LABEL, rules.MOVE_HIERARCHY_LABEL)
_SECRETS = tuple(f"c{number}-{purpose}" for number in range(2) for purpose in ("ca", "etcd", "token"))


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Returns a scenario of 3 to 12 objects, some of which the target may have already."""
    things = [*_heads(draw), *_others(draw)]
    linked = tuple(_with_owners(draw, thing, things, place) for place, thing in enumerate(things))
    there = tuple(_edited(thing) for thing in linked if _rarely(draw, 20) and thing.namespace != THERE)
    options = {"leave_behind": not _rarely(draw, 8), "existing": "refuse" if _rarely(draw, 8) else "overwrite"}
    return Scenario("random", World(linked, there), Verdict.ANY, options=options)


def _heads(draw: st.DrawFn) -> list[Thing]:
    """Returns some Clusters, of a ClusterClass or not, and the classes with a template each."""
    found: list[Thing] = []
    namespace = draw(st.sampled_from((HERE, HERE, THERE)))
    has_class = draw(st.booleans())
    if has_class:
        template = made(GADGET, "template", namespace=namespace)
        found += [
            cluster_class("k", infrastructure="template", control_plane="template", namespace=namespace),
            template,
        ]
    for number in range(draw(st.integers(0, 2))):
        reference = {"name": "k", "namespace": f"@{namespace}"}
        spec = {"topology": {"classRef": reference, "version": "v1.36.3"}} if has_class and draw(st.booleans()) else {}
        found.append(cluster(f"c{number}", spec=spec))
    return found


def _others(draw: st.DrawFn) -> list[Thing]:
    """Returns objects of all kinds of kinds; of those that would be the same object only the first."""
    count = draw(st.integers(3, _LARGEST - 4))
    drawn = [_other(draw, f"t{number}") for number in range(count)]
    return list({(thing.type, thing.namespace, thing.name): thing for thing in reversed(drawn)}.values())[::-1]


def _other(draw: st.DrawFn, name: str) -> Thing:
    kind = draw(st.sampled_from((*_MADE_UP, CONFIG_MAP, SECRET, SECRET, BINDING, *_GLOBAL)))
    labels = {draw(st.sampled_from(_LABELS)): ""} if _rarely(draw, 6) else {}
    finalizers = ("made-up.example.com/hold",) if _rarely(draw, 4) else ()
    if kind == BINDING:
        return binding(name, draw(st.sampled_from(("c0", "c1", "c9"))), labels=labels)
    if kind == SECRET:
        space = _PROVIDER_NAMESPACE if _rarely(draw, 4) else HERE
        return secret(draw(st.sampled_from((name, *_SECRETS))), namespace=space, labels=labels)
    if kind == CONFIG_MAP:
        return config_map(name, labels=labels, finalizers=finalizers)
    status = {"seen": True} if draw(st.booleans()) else None
    return made(kind, name, labels=labels, finalizers=finalizers, status=status)


def _with_owners(draw: st.DrawFn, thing: Thing, things: list[Thing], place: int) -> Thing:
    """Returns the thing with up to two owners; now and then a later one, so that there are circles."""
    if thing.type == CLUSTER or thing.name == "k":
        return thing
    candidates = things if _rarely(draw, 10) else things[:place]
    allowed = [other for other in candidates if _may_own(other, thing)]
    chosen = draw(st.lists(st.sampled_from(allowed), max_size=2, unique_by=id)) if allowed else []
    flags = st.sampled_from((None, False, True))
    owners = {(other.type, other.name): Owner(other.type, other.name, None, draw(flags)) for other in chosen}
    return replace(thing, owners=tuple(owners.values()))


def _may_own(owner: Thing, thing: Thing) -> bool:
    """Owners across namespaces are not allowed: the garbage collector deletes such dependents."""
    if not owner.type.namespaced:
        return True
    return thing.type.namespaced and owner.namespace == thing.namespace


def _edited(thing: Thing) -> Thing:
    """Returns what the target has under a thing's name: other labels, and no owners."""
    status = INITIALISED if thing.type == CLUSTER else None
    return replace(thing, owners=(), labels={"edited": "on-the-target"}, finalizers=(), status=status)


def _rarely(draw: st.DrawFn, one_in: int) -> bool:
    return draw(st.integers(1, one_in)) == one_in
