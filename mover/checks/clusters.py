"""Checks of the two clusters themselves: who they are, and what is installed on them."""

from __future__ import annotations

from collections.abc import Iterable

import semver

from graph import rules
from mover.concurrency import all_of, both
from mover.discovery import CRDS, NAMESPACES, Provider, list_providers
from mover.errors import ApiError, NotFoundError, Problem
from mover.kube import Cluster
from mover.planning import Plan


async def check_clusters(source: Cluster, target: Cluster, plan: Plan) -> list[Problem]:
    """Returns what is wrong with the clusters as source and target of any move."""
    checks = (
        check_identity(source, target),
        check_contract(source),
        check_contract(target),
        check_providers(target, plan),
    )
    return [problem for found in await all_of(checks) for problem in found]


async def check_connection(cluster: Cluster) -> list[Problem]:
    """The API server answers, and takes the credentials."""
    try:
        await cluster.version()
    except ApiError as error:
        side = "--kubeconfig" if cluster.name == "source" else "--to-kubeconfig"
        remedy = f"See that it runs, and that {side} is right: kubectl cluster-info"
        return [Problem("connection", cluster.name, cluster.server or cluster.context, _said(error), remedy)]
    return []


def _said(error: ApiError) -> str:
    return f"{error.status} {error.reason}: {error.message}" if error.status else error.message


async def check_versions(source: Cluster, target: Cluster) -> list[Problem]:
    """The target's Kubernetes is not older than the source's, by minor version."""
    here, there = await both(source.version(), target.version())
    if _version(there).to_tuple()[:2] >= _version(here).to_tuple()[:2]:
        return []
    what = f"its Kubernetes is older ({there}) than the source's ({here})"
    remedy = "Upgrade it first, if the providers need the newer one"
    return [Problem("versions", "target", target.server, what, remedy, is_warning=True)]


CLOCK_SKEW_S = 10.0


async def check_clocks(source: Cluster, target: Cluster) -> list[Problem]:
    """The clocks of both clusters and ours agree; leases, tokens and timestamps are read on all three."""
    await both(source.version(), target.version())
    sides = {"source": source.link.clock_ahead_s, "target": target.link.clock_ahead_s}
    ahead = {"here": 0.0, **{side: by for side, by in sides.items() if by is not None}}
    first, last = max(ahead, key=ahead.__getitem__), min(ahead, key=ahead.__getitem__)
    apart_s = ahead[first] - ahead[last]
    if apart_s <= CLOCK_SKEW_S:
        return []
    side = "target" if "target" in (first, last) else "source"
    what = f"the clocks differ by {apart_s:.0f} s ({first} is ahead of {last})"
    remedy = "Set them right (NTP), here and on the control planes"
    return [Problem("clocks", side, "clock", what, remedy, is_warning=True)]


async def check_identity(source: Cluster, target: Cluster) -> list[Problem]:
    """Source and target are not the same cluster, whatever their addresses."""
    one, other = await all_of(cluster.get(NAMESPACES, "", "kube-system") for cluster in (source, target))
    if one.uid != other.uid:
        return []
    what = f"source and target are the same cluster ({source.server}, {target.server})"
    return [Problem("identity", "target", "cluster", what, "Choose another target with --to-kubeconfig")]


async def check_providers(target: Cluster, plan: Plan) -> list[Problem]:
    """Every provider of the source is on the target at the same or a newer version (checkTargetProviders)."""
    there = await list_providers(target)
    return [problem for provider in plan.inventory.providers if (problem := _provider_problem(provider, there))]


def _provider_problem(provider: Provider, there: Iterable[Provider]) -> Problem | None:
    same = [other for other in there if (other.type, other.name) == (provider.type, provider.name)]
    subject = f"{provider.type} {provider.name}"
    remedy = "Install it on the target with: clusterctl init, or: clusterctl upgrade apply"
    if not same:
        return Problem("providers", "target", subject, "the provider is not installed", remedy)
    try:
        newest = max(_version(other.version) for other in same)
        if newest >= _version(provider.version):
            return None
    except ValueError as error:
        return Problem("providers", "target", subject, f"its version cannot be compared: {error}", remedy)
    what = f"the provider is older (v{newest}) than on the source ({provider.version})"
    return Problem("providers", "target", subject, what, remedy)


def _version(text: str) -> semver.Version:
    return semver.Version.parse(text.removeprefix("v"))


async def check_contract(cluster: Cluster) -> list[Problem]:
    """The cluster's CAPI serves the contract this mover was written for (inventory.go, CheckCAPIContract)."""
    try:
        crd = await cluster.get(CRDS, "", rules.CLUSTERS_CRD)
    except NotFoundError:
        what, remedy = "Cluster API is not installed", "Install it with: clusterctl init"
        return [Problem("contract", cluster.name, rules.CLUSTERS_CRD, what, remedy)]
    if rules.CONTRACT_LABEL in crd.labels:
        return []
    what = f"this version of Cluster API does not serve the contract {rules.CONTRACT_LABEL.rpartition('/')[2]}"
    remedy = "Upgrade it with: clusterctl upgrade apply"
    return [Problem("contract", cluster.name, rules.CLUSTERS_CRD, what, remedy)]
