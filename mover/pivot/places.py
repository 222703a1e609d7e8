"""Which of a cluster's workloads are Ironic, its operator, the baremetal-operator and the providers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graph.resource import Object
from mover.concurrency import all_of
from mover.discovery import list_providers
from mover.kube import Cluster
from mover.pivot.choices import IRONIC_PLACES
from mover.pivot.models import PivotOptions
from mover.pivot.workloads import DEPLOYMENTS, owned_by_ironic, workloads_in


@dataclass(frozen=True, slots=True)
class Workloads:
    """What a pivot stops and starts on one cluster, as it is now.

    Attributes:
        ironic: What runs Ironic.
        ironic_operator: The ironic-standalone-operator, None if it is not there or Ironic does not belong to it.
        operator: The baremetal-operator, None if it is not there.
        missing: Places of Ironic that were asked for by name and are not there.
    """

    ironic: tuple[Object, ...]
    ironic_operator: Object | None
    operator: Object | None
    missing: tuple[str, ...] = ()

    @property
    def needs_ironic_operator(self) -> bool:
        """Returns whether Ironic belongs to an operator that would start it again."""
        return any(map(owned_by_ironic, self.ironic))

    @property
    def ironic_parts(self) -> tuple[Object, ...]:
        """Returns Ironic and what manages it, in the order they are stopped in."""
        return ((self.ironic_operator,) if self.ironic_operator else ()) + self.ironic

    @property
    def all_parts(self) -> tuple[Object, ...]:
        """Returns everything."""
        return self.ironic_parts + ((self.operator,) if self.operator else ())


async def find_workloads(cluster: Cluster, options: PivotOptions) -> Workloads:
    """Returns what runs Ironic and the operator on a cluster.

    Ironic is what has one of the names, and what an Ironic resource owns in the same namespaces.
    """
    places = options.ironic or IRONIC_PLACES
    spaces = {place.partition("/")[0] for place in (*places, options.operator, options.ironic_operator)}
    found = await workloads_in(cluster, spaces)
    ironic_spaces = {place.partition("/")[0] for place in places}
    ironic = tuple(
        obj for obj in found if _place(obj) in places or (owned_by_ironic(obj) and obj.key.namespace in ironic_spaces)
    )
    needs_operator = any(map(owned_by_ironic, ironic))
    return Workloads(
        ironic,
        _at(found, options.ironic_operator) if needs_operator else None,
        _at(found, options.operator),
        tuple(sorted(set(options.ironic) - set(map(_place, found)))),
    )


async def provider_deployments(cluster: Cluster) -> dict[str, tuple[Object, ...]]:
    """Returns the Deployments in the namespace of each provider that `clusterctl init` has installed."""
    spaces = sorted({provider.namespace for provider in await list_providers(cluster)} - {""})
    pages = await all_of(cluster.list(DEPLOYMENTS, space) for space in spaces)
    return {space: page.objects for space, page in zip(spaces, pages, strict=True)}


def _at(workloads: Sequence[Object], place: str) -> Object | None:
    return next((obj for obj in workloads if _place(obj) == place), None)


def _place(obj: Object) -> str:
    return f"{obj.key.namespace}/{obj.key.name}"
