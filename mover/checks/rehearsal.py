"""The writes of the move, rehearsed: the servers do all but store them (`dryRun=All`), webhooks and policies included.

On the target, the creation of one object of each kind, and of every object of kinds that anybody is asked about. On the
source, the patch that lets an original vanish, one object of each kind; where webhooks are asked about a deletion, that
too, but only whether they answer: they refuse until the object says that it was moved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

from graph.resource import Object, ResourceType
from mover import metal3, transform
from mover.checks.access import denied
from mover.checks.admission import Admission, Asked
from mover.checks.scene import Scene
from mover.concurrency import all_of
from mover.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    Problem,
    TransientError,
)
from mover.kube import Cluster
from mover.models import MANAGER
from mover.pause import pause_of, pause_patch
from mover.permissions import Permission
from mover.planning import Plan
from mover.stripping import stripping_patch

ALWAYS_THERE = "default"
"""A namespace that every cluster has."""
_SHOWN = 10
"""So many refusals of one kind are told one by one."""

Rehearse = Callable[[Object], Awaitable[None]]


async def rehearse_creation(scene: Scene) -> list[Problem]:
    """The target would take the copies."""
    plan = scene.plan
    there = {*scene.collisions.used, *scene.collisions.overwritten, *(obj.uid for obj in scene.collisions.refused)}
    unserved = set(scene.on_target.unserved)
    new = [plan.image(obj) for obj in plan.selection.selected if obj.uid not in there and obj.type not in unserved]
    missing = {name for name, namespace in scene.namespaces.items() if namespace is None}
    return await rehearse_copies(scene.target, plan, new, missing, scene.on_target_asked)


async def rehearse_copies(
    target: Cluster, plan: Plan, new: Sequence[Object], missing: Collection[str], admission: Admission
) -> list[Problem]:
    """The target would take these copies.

    Args:
        target: The cluster.
        plan: What they are part of: owners in it are known.
        new: The copies, as they would be on the target.
        missing: Namespaces of theirs that are not there yet.
        admission: Who is asked about them.
    """
    aside = await _may_be_aside(target, {obj.type for obj in new if obj.key.namespace in missing})
    stage = _Creation(target, plan, dict.fromkeys(missing, ALWAYS_THERE))
    possible = [obj for obj in new if obj.key.namespace not in missing or obj.type in aside]
    groups = [
        _rehearsed(stage, objects, every=admission.any_asked("CREATE", resource))
        for resource, objects in sorted(_by_type(possible).items())
    ]
    refused = [one for found in await all_of(groups) for one in found]
    problems = _told(refused, "creation", target, admission, "CREATE")
    if len(possible) < len(new):
        kinds = ", ".join(sorted({str(obj.type) for obj in new} - {str(obj.type) for obj in possible}))
        what = f"the namespace is not there yet, so this could not be rehearsed: {kinds or 'some of the objects'}"
        remedy = "Create the namespace on the target first, if that shall be known beforehand"
        problems.append(Problem("creation", "target", ", ".join(sorted(missing)), what, remedy, is_warning=True))
    return problems


async def _may_be_aside(target: Cluster, types: set[ResourceType]) -> set[ResourceType]:
    """Returns the types that may be rehearsed in the namespace that is always there, for one that is not."""
    wanted = {Permission("target", "create", one.group, one.plural, ALWAYS_THERE): one for one in types}
    refused = await denied(target, tuple(wanted)) if wanted else []
    return {one for permission, one in wanted.items() if permission not in refused}


class _Creation:
    """Rehearses the creation of copies."""

    def __init__(self, target: Cluster, plan: Plan, instead: dict[str, str]) -> None:
        """`instead` maps a namespace that is not there to one that is."""
        self._target = target
        self._instead = instead
        # The copies of owners have no UIDs yet; those of the originals are as good: a server does not look them up.
        self._uids = {obj.uid: obj.uid for obj in plan.selection.selected}

    async def __call__(self, image: Object) -> None:
        """Rehearses one."""
        body = transform.target_body(image, self._uids)
        space = image.key.namespace
        if space in self._instead:
            body["metadata"]["namespace"] = self._instead[space]
        await self._target.rehearse_create(image.type, body, manager=MANAGER)


async def rehearse_pauses(source: Cluster, plan: Plan, admission: Admission) -> list[Problem]:
    """The source would take the pauses: one object of each kind that is paused is asked."""

    async def set_pause(obj: Object) -> None:
        pause = pause_of(obj)
        patch = metal3.fence_patch(obj) if metal3.is_host(obj) else pause_patch(pause) if pause else None
        if patch is not None:
            await source.rehearse_patch(obj.type, obj.key, patch, manager=MANAGER)

    firsts = [objects[0] for objects in _by_type(plan.selection.moved).values()]
    refused = [one for found in await all_of(_rehearsed(set_pause, [obj]) for obj in firsts) for one in found]
    return _told(refused, "pause", source, admission, "UPDATE")


async def rehearse_removal(scene: Scene) -> list[Problem]:
    """The source would let the originals go, and the webhooks that are asked about it answer."""
    admission = scene.on_source_asked
    firsts = [objects[0] for objects in _by_type(scene.plan.selection.moved).values()]

    async def strip(obj: Object) -> None:
        await scene.source.rehearse_patch(obj.type, obj.key, stripping_patch(obj), manager=MANAGER)

    async def delete(obj: Object) -> None:
        try:
            await scene.source.rehearse_delete(obj.type, obj.key, uid=obj.uid)
        except (ForbiddenError, InvalidError):
            return  # as long as the object does not say that it was moved

    stripped = [obj for obj in firsts if _is_stripped_first(obj, admission)]
    guarded = [obj for obj in firsts if admission.asked("DELETE", obj.type)]
    strips = [one for found in await all_of(_rehearsed(strip, [obj]) for obj in stripped) for one in found]
    deletes = [one for found in await all_of(_rehearsed(delete, [obj]) for obj in guarded) for one in found]
    return [
        *_told(strips, "removal", scene.source, admission, "UPDATE"),
        *_told(deletes, "removal", scene.source, admission, "DELETE"),
    ]


def _is_stripped_first(obj: Object, admission: Admission) -> bool:
    return bool(obj.finalizers) or metal3.is_host(obj) or admission.any_asked("DELETE", obj.type)


def _by_type(objects: Iterable[Object]) -> dict[ResourceType, list[Object]]:
    found: defaultdict[ResourceType, list[Object]] = defaultdict(list)
    for obj in objects:
        found[obj.type].append(obj)
    return dict(found)


_Refused = tuple[Object, ApiError]


async def _rehearsed(rehearse: Rehearse, objects: Sequence[Object], *, every: bool = False) -> list[_Refused]:
    """Returns what was refused of a kind; if nobody answers for the first, the others are not waited for."""
    first = await _try(rehearse, objects[0])
    if first is not None and isinstance(first[1], TransientError):
        return [first]
    others = await all_of(_try(rehearse, obj) for obj in objects[1:]) if every else []
    return [one for one in (first, *others) if one is not None]


async def _try(rehearse: Rehearse, obj: Object) -> _Refused | None:
    try:
        await rehearse(obj)
    except (AlreadyExistsError, ConflictError, NotFoundError):
        return None  # whoever is asked has agreed; the rest is for other checks to say
    except (ForbiddenError, InvalidError, TransientError) as error:
        return obj, error
    return None


def _told(
    refused: Sequence[_Refused], check: str, cluster: Cluster, admission: Admission, operation: str
) -> list[Problem]:
    problems: list[Problem] = []
    counts: defaultdict[ResourceType, int] = defaultdict(int)
    for obj, error in refused:
        counts[obj.type] += 1
        if counts[obj.type] <= _SHOWN:
            problems.append(_problem(obj, error, check, cluster.name, admission.asked(operation, obj.type)))
    for resource, count in sorted(counts.items()):
        if count > _SHOWN:
            what = f"{count - _SHOWN} more are refused"
            problems.append(Problem(check, cluster.name, str(resource), what, "See the first ones"))
    return problems


def _problem(obj: Object, error: ApiError, check: str, cluster: str, asked: Sequence[Asked]) -> Problem:
    said = error.message or error.reason
    if not isinstance(error, TransientError):
        what = f"the server would refuse this: {said}"
        return Problem(check, cluster, str(obj.key), what, "Mend the object, or whoever refuses it")
    names = ", ".join(sorted({one.configuration for one in asked}))
    what = f"there is no answer to this: {said}" + (f" (asked: {names})" if names else "")
    remedy = "See that the Pods behind the webhook run; a webhook whose provider is gone: kubectl delete it"
    return Problem(check, cluster, str(obj.key), what, remedy)
