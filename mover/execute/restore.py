"""Creating what a directory holds on a cluster, as a move does: owners first, status, field managers, verified.

What clusterctl does not: everything that is wrong with the files or with what the target serves is told before
anything is created, and the copies are compared with the files before they are resumed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from graph import rules
from graph.resource import Object, ObjectKey, ResourceType, parse_object
from mover import metal3
from mover.checks.target import check_outside_owners, find_outside_owners, without_owner
from mover.concurrency import all_of
from mover.differences import content
from mover.directory import Backup, Entry, Manifest, load
from mover.discovery import NAMESPACES, Inventory, find_type, movable_types, resolve_type
from mover.errors import AlreadyExistsError, Problem, RefusedError, UsageError, VerificationError
from mover.events import Listener, Noted
from mover.execute.backup import moves_under_way, stops_told
from mover.execute.clock import Clock
from mover.execute.copying import Copier, missing_namespaces
from mover.execute.lease import held
from mover.execute.resuming import resume
from mover.execute.run import identity_of
from mover.kube import Cluster
from mover.models import MANAGER, LeftObject, MoveOptions, Phase
from mover.pause import PAUSED_FIELD, Pause, is_paused, united
from mover.planning import Plan, Rules, make_plan
from mover.verify import compare_copies, read_objects, status_is_restored

_NAME_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What a restore did.

    Attributes:
        plan: What the directory holds, without what was left out; all of it is on the target.
        manifest: The directory's manifest; None for one of clusterctl.
        created: How many objects were created, each read back and found equal to its file.
        used: Objects that the target had already; they were left as they were.
        left: Objects that were left out on request, and why.
        paused: Objects that are still paused by the backup, on request.
        seconds: Duration of each phase, in seconds.
    """

    plan: Plan
    manifest: Manifest | None
    created: int
    used: tuple[ObjectKey, ...]
    left: tuple[LeftObject, ...]
    paused: tuple[ObjectKey, ...]
    seconds: Mapping[Phase, float]


@dataclass(frozen=True, slots=True)
class Ready:
    """A restore against which nothing stands.

    Attributes:
        plan: What is to be there in the end.
        used: UID in the files -> UID on the target of what is there already: owners outside of the directory, too.
        incomplete: The same of copies that an interrupted restore has left without status or field managers.
        pauses: What is to be taken off in the end.
        left: What is left out.
    """

    plan: Plan
    used: Mapping[str, str]
    incomplete: Mapping[str, str]
    pauses: tuple[Pause, ...]
    left: tuple[LeftObject, ...]


async def restore(
    target: Cluster,
    folder: Path,
    options: MoveOptions,
    listener: Listener,
    *,
    identity: Path | None = None,
    keep_paused: bool = False,
) -> RestoreResult:
    """Creates the objects of a directory on `target` and resumes them.

    What the target has already is left as it is, and owns the others under its own UID (clusterctl mover.go,
    restoreTargetObject). A restore that was broken off is finished by another one: its copies are there and paused.

    Args:
        target: Where the objects go.
        folder: The directory of a backup, ours or clusterctl's.
        options: What was asked for: `restore_status`, `leave_behind` and `timeout_s` count.
        listener: Told of every step.
        identity: A file with age identities, for an encrypted backup.
        keep_paused: Leave the copies paused; the same restore without it resumes them.

    Raises:
        UsageError: The directory, the identity or the target is none, or another namespace was asked for.
        RefusedError: Files are damaged and the like, or the target cannot take them; nothing was created.
        VerificationError: Copies differ from their files; they are paused.
        StoppedError: A signal came, or the time limit is over.
        ApiError: The cluster refused a request.
    """
    require_same_namespace(options)
    clock = Clock(listener)
    with stops_told("restore"):
        with clock.phase(Phase.LOADING):
            backup = await asyncio.to_thread(load, folder, identity)
        note_origin(backup, (await identity_of(target)).uid, listener)
        async with held(target, _scope(backup), listener), asyncio.timeout(options.timeout_s or None):
            with clock.phase(Phase.PREFLIGHT):
                ready = await prepare(target, backup, options)
            _note_dying(backup, listener)
            with _rest_told(listener):
                created = await _create(target, backup, ready, options, clock)
                if not keep_paused:
                    with clock.phase(Phase.RESUMING, len(ready.pauses)):
                        await resume(target, ready.pauses, listener)
    objects = ready.plan.selection.selected
    return RestoreResult(
        plan=ready.plan,
        manifest=backup.manifest,
        created=created,
        used=tuple(obj.key for obj in objects if obj.uid in ready.used),
        left=ready.left,
        paused=tuple(sorted({pause.key for pause in ready.pauses})) if keep_paused else (),
        seconds=clock.seconds,
    )


def require_same_namespace(options: MoveOptions) -> None:
    """Raises UsageError if another namespace is asked for: references in files are not rewritten."""
    if options.to_namespace is not None:
        raise UsageError("A backup cannot be restored to another namespace", "Restore it to the one it is of")


def note_origin(backup: Backup, target_uid: str, listener: Listener) -> None:
    """Tells what is to be known of where the files come from."""
    manifest = backup.manifest
    if manifest is None:
        listener(Noted(f"{backup.folder} has no manifest: whether its files are whole and complete cannot be checked"))
        return
    listener(Noted(f"The backup was made of {manifest.source_context} at {manifest.created} by {manifest.tool}"))
    if not manifest.source_paused and manifest.source_uid != target_uid:
        listener(
            Noted(
                "Its source was resumed: make sure that it does not run any more, or two clusters act on the same hosts"
            )
        )


def _note_dying(backup: Backup, listener: Listener) -> None:
    """Tells of objects that were being deleted when they were saved: clusterctl saves such, too."""
    dying = ", ".join(str(entry.key) for entry in backup.entries if "deletionTimestamp" in entry.body()["metadata"])
    if dying:
        listener(Noted(f"These objects were being deleted when they were saved, and live again now: {dying}"))


@contextmanager
def _rest_told(listener: Listener) -> Iterator[None]:
    """Tells, if the body fails, what is left on the target."""
    try:
        yield
    except BaseException:
        listener(Noted("What was created by now stays on the target; the same restore goes on from there"))
        raise


def _scope(backup: Backup) -> str:
    """Returns the namespace that is restored, "" for several."""
    spaces = {entry.key.namespace for entry in backup.entries} - {""}
    return spaces.pop() if len(spaces) == 1 else ""


async def prepare(target: Cluster, backup: Backup, options: MoveOptions) -> Ready:
    """Returns what is to be done.

    Raises:
        RefusedError: Something stands against it.
    """
    under_way = await moves_under_way(target, {entry.key.namespace for entry in backup.entries})
    types = await movable_types(target)
    objects, unserved = await _objects(target, types, backup.entries)
    plan = _plan_of(types, objects)
    owners = await find_outside_owners(target, plan)
    left: tuple[LeftObject, ...] = ()
    if options.leave_behind:
        plan, left = _without_homeless(plan, owners)
    # An owner whose own file is refused is not told once more for each of its dependents.
    in_files = {entry.uid: entry.uid for entry in backup.entries}
    problems = [*under_way, *unserved, *check_outside_owners(plan, {**in_files, **owners})]
    if problems:
        raise RefusedError(problems)
    there = {copy.key: copy for copy in await read_objects(target, plan.images())}
    found = {image.uid: (image, there[image.key]) for image in plan.images() if image.key in there}
    incomplete = {uid: copy.uid for uid, (image, copy) in found.items() if _is_incomplete(image, copy, options)}
    used = {uid: copy.uid for uid, (_, copy) in found.items() if uid not in incomplete}
    return Ready(plan, {**used, **owners}, incomplete, _own_pauses(plan, there, backup.manifest), left)


async def _objects(
    target: Cluster, known: Sequence[ResourceType], entries: Sequence[Entry]
) -> tuple[list[Object], list[Problem]]:
    """Returns the objects that the target serves in the version of their files, and a problem for each other file."""
    wanted = sorted({(entry.api_version, entry.key.kind) for entry in entries})
    types = dict(zip(wanted, await all_of(_type(target, known, *kind) for kind in wanted), strict=True))
    objects, problems = [], []
    for entry in entries:
        resource = types[entry.api_version, entry.key.kind]
        if _is_none_of_a_move(known, entry):
            what = f"{entry.key} is of a kind that no move takes along"
            remedy = "Take the file out; if the object is needed, create it with: kubectl create"
            problems.append(Problem("directory", target.name, entry.file, what, remedy))
        elif resource is None:
            what = f"the cluster does not serve {entry.api_version}, kind {entry.key.kind}"
            remedy = "Install the provider's CRDs there with: clusterctl init, in the version of the backup's source"
            problems.append(Problem("served", target.name, entry.file, what, remedy))
        elif resource.namespaced != bool(entry.key.namespace):
            what = f"{entry.key} has {'no' if resource.namespaced else 'a'} namespace"
            problems.append(Problem("directory", target.name, entry.file, what, "Make the backup anew"))
        else:
            objects.append(_fenced(parse_object(resource, _revived(entry.body()))))
    return objects, problems


def _is_none_of_a_move(known: Iterable[ResourceType], entry: Entry) -> bool:
    """Returns whether a kind is one of Kubernetes' own that moves do not know: rights, webhooks, workloads.

    A provider's kind may be served without the label that discovery goes by; one of Kubernetes is never moved, and in
    files that somebody else has made it would get its rights from whoever restores them.
    """
    group = entry.key.group
    return find_type(known, (group, entry.key.kind)) is None and ("." not in group or group.endswith(".k8s.io"))


async def _type(target: Cluster, known: Iterable[ResourceType], api_version: str, kind: str) -> ResourceType | None:
    """Returns a type in exactly this version, None if the target does not serve it."""
    found = find_type(known, (api_version.rpartition("/")[0], kind))
    if found is not None and found.api_version == api_version:
        return found
    try:
        served = await resolve_type(target, (), api_version, kind)
    except UsageError:
        return None
    return served if found is None else replace(served, move=found.move, move_hierarchy=found.move_hierarchy)


def _revived(body: dict[str, Any]) -> dict[str, Any]:
    """Returns an object without the marks of its deletion: no copy can have them."""
    marks = ("deletionTimestamp", "deletionGracePeriodSeconds")
    return {**body, "metadata": {name: value for name, value in body["metadata"].items() if name not in marks}}


def _fenced(obj: Object) -> Object:
    """Returns a host paused and with its status saved, other objects as they are.

    clusterctl pauses no host. Without either a host is inspected, and may be written, as soon as it is there.
    """
    return metal3.fenced(obj) if metal3.is_host(obj) else obj


def _plan_of(types: tuple[ResourceType, ...], objects: Sequence[Object]) -> Plan:
    """Returns the plan that creates all of the objects: what was saved was selected then."""
    inventory = Inventory("", types, tuple(sorted(objects, key=lambda obj: obj.key)), (), frozenset())
    return make_plan(inventory, Rules(exactly=frozenset(obj.uid for obj in objects)))


def _without_homeless(plan: Plan, owners: Mapping[str, str]) -> tuple[Plan, tuple[LeftObject, ...]]:
    """Returns the plan without objects whose owners are nowhere and all below them, and these."""
    graph = plan.selection.graph
    todo = [obj.uid for obj, _ in without_owner(plan, owners)]
    left: set[str] = set()
    while todo:
        uid = todo.pop()
        if uid not in left:
            left.add(uid)
            todo += graph.dependents(uid)
    reason = "One of its owners is neither in the directory nor on the target."
    told = tuple(LeftObject(object=str(obj.key), reason=reason) for uid, obj in graph.objects.items() if uid in left)
    return _plan_of(plan.inventory.types, [obj for uid, obj in graph.objects.items() if uid not in left]), told


def _is_incomplete(image: Object, copy: Object, options: MoveOptions) -> bool:
    """Returns whether an object on the target is the copy of a restore that was broken off before it was complete.

    It is as in its file, but for the status, or it still has the fields of which the mover itself was the manager.
    """
    if content(copy) != content(image):
        return False
    is_restored = image.type.has_status and status_is_restored(image, options.restore_status)
    lacks_status = is_restored and bool(image.body().get("status")) and not copy.body().get("status")
    own = _own_fields(image)
    return lacks_status or any(fields != own.get(entry) for entry, fields in _own_fields(copy).items())


def _own_fields(obj: Object) -> dict[tuple[str, str], Any]:
    """Returns what the mover manages of an object, by operation and subresource."""
    entries = obj.body()["metadata"].get("managedFields") or ()
    return {
        (entry.get("operation") or "", entry.get("subresource") or ""): entry.get("fieldsV1")
        for entry in entries
        if entry.get("manager") == MANAGER
    }


def _own_pauses(plan: Plan, there: Mapping[ObjectKey, Object], manifest: Manifest | None) -> tuple[Pause, ...]:
    """Returns the pauses to take off in the end.

    With a manifest these are the pauses in it; without one all of Clusters and ClusterClasses (clusterctl mover.go,
    fromDirectory). The mover's own are always among them. An object that the target had already, and that is not as
    in the files, is paused by somebody else if at all.
    """
    images = {image.key: image for image in plan.images()}
    known = manifest.pauses if manifest else _all_pauses(images.values())
    pauses = united((*known, *plan.copy_pauses()), _marked(images.values()))
    mine = [replace(pause, resource=images[pause.key].type) for pause in pauses if pause.key in images]
    return tuple(pause for pause in mine if _is_ours(pause, images[pause.key], there.get(pause.key)))


def _is_ours(pause: Pause, image: Object, found: Object | None) -> bool:
    return found is None or found.annotations.get(pause.field) == MANAGER or content(found) == content(image)


def _all_pauses(images: Iterable[Object]) -> list[Pause]:
    fields = {rules.CLUSTER: PAUSED_FIELD, rules.CLUSTER_CLASS: rules.PAUSED_ANNOTATION}
    return [
        Pause(image.type, image.key, fields[image.type.group_kind])
        for image in images
        if image.type.group_kind in fields and is_paused(image)
    ]


def _marked(images: Iterable[Object]) -> list[Pause]:
    """Returns the pauses that carry the mover's own value."""
    fields = (rules.PAUSED_ANNOTATION, rules.HOST_PAUSED_ANNOTATION)
    return [
        Pause(image.type, image.key, field)
        for image in images
        for field in fields
        if image.annotations.get(field) == MANAGER
    ]


async def _create(target: Cluster, backup: Backup, ready: Ready, options: MoveOptions, clock: Clock) -> int:
    """Creates and verifies the copies, and returns how many.

    Raises:
        VerificationError: Some are not equal to their files.
    """
    plan = ready.plan
    with clock.phase(Phase.CREATING, len(plan.creation.sequence)):
        await _create_namespaces(target, await missing_namespaces(target, plan), backup.manifest)
        copier = Copier(target, plan, options, ready.used, ready.incomplete)
        await copier.copy_all(clock.counter(Phase.CREATING, "created"))
    with clock.phase(Phase.VERIFYING, len(copier.created)):
        found = await compare_copies(target, plan, copier.made(), options.restore_status)
        if found:
            raise VerificationError([difference for group in found.values() for difference in group])
    return len(copier.created)


async def _create_namespaces(target: Cluster, names: Iterable[str], manifest: Manifest | None) -> None:
    """Creates namespaces, with the labels and annotations that they had on the source (docs/decisions/0004)."""
    saved = {namespace.name: namespace for namespace in manifest.namespaces} if manifest else {}
    for name in names:
        known = saved.get(name)
        labels = {label: value for label, value in known.labels.items() if label != _NAME_LABEL} if known else {}
        metadata = {"name": name, "labels": labels, "annotations": known.annotations if known else {}}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        try:
            await target.create(NAMESPACES, body, manager=MANAGER)
        except AlreadyExistsError:
            continue


def saved_objects(folder: Path, identity: Path | None = None) -> tuple[Object, ...]:
    """Returns the objects of a directory as they were saved, sorted by key; no cluster is asked for their types.

    Raises:
        RefusedError: Files are damaged, missing or foreign.
    """
    return tuple(sorted(map(_saved, load(folder, identity).entries), key=lambda obj: obj.key))


def _saved(entry: Entry) -> Object:
    group, _, version = entry.api_version.rpartition("/")
    plural = f"{entry.key.kind.lower()}s"  # never used in a URL here
    resource = ResourceType(group, version, entry.key.kind, plural, namespaced=bool(entry.key.namespace))
    return parse_object(resource, entry.body())
