"""The command line: the same flags mean the same."""

from __future__ import annotations

from tests.differential.kinds import COMET, ROVER
from tests.differential.parts import cluster, config_map, made, secret
from tests.differential.scenario import Verdict, scenario
from tests.differential.world import THERE, Ends, World


@scenario(flags=("--dry-run",))
def a_dry_run_changes_nothing() -> World:
    return World((cluster("c", ends=Ends.LEFT), secret("c-ca", ends=Ends.LEFT), made(COMET, "x", ends=Ends.LEFT)))


@scenario(flags=("--dry-run",), verdict=Verdict.REFUSED, check="paused", oracle_says="Clusters are paused")
def a_dry_run_stops_at_a_paused_cluster() -> World:
    return World((cluster("c", spec={"paused": True}),))


@scenario(flags=("--dry-run",), verdict=Verdict.WE_REFUSE, check="provisioned")
def a_dry_run_does_not_mind_a_cluster_without_infrastructure() -> World:
    return World((cluster("c", status={"phase": "Provisioning"}, ends=Ends.LEFT),))


@scenario(context_namespace=True)
def without_a_namespace_the_one_of_the_context_moves() -> World:
    return World((cluster("c"), made(ROVER, "r", namespace=THERE, ends=Ends.LEFT)))


@scenario()
def other_namespaces_are_left_alone() -> World:
    beside = (cluster("c", namespace=THERE, ends=Ends.LEFT), secret("c-ca", namespace=THERE, ends=Ends.LEFT))
    return World((cluster("c"), secret("c-ca"), *beside))


@scenario()
def a_namespace_with_nothing_to_move_moves_nothing() -> World:
    return World((config_map("m", ends=Ends.LEFT),))
