"""Owner references: how they are restored, and what becomes of objects whose owners cannot all come along."""

from __future__ import annotations

from itertools import product

from tests.differential.kinds import REALM, ROVER
from tests.differential.parts import cluster, config_map, gadget, made, secret
from tests.differential.scenario import Verdict, scenario
from tests.differential.world import Ends, Owner, Thing, World


@scenario()
def owner_references_keep_their_flags() -> World:
    owner = cluster("c")
    flags = tuple(product((None, False, True), repeat=2))
    below = (gadget(f"g{n}", owner.owner(controller=one, block=two)) for n, (one, two) in enumerate(flags))
    return World((owner, *below))


@scenario()
def an_object_with_two_owners_has_both_again() -> World:
    one, two = cluster("c"), cluster("d")
    both = gadget("both", two.owner(), one.owner(controller=True, block=True))
    return World((one, two, both, secret("s", both.owner(), one.owner(block=False))))


@scenario()
def a_chain_of_owners_six_deep_moves_as_a_whole() -> World:
    chain: list[Thing] = [cluster("c")]
    for depth in range(1, 7):
        chain.append(gadget(f"g{depth}", chain[-1].owner(controller=True)))
    return World(tuple(chain))


@scenario()
def owners_that_share_a_dependent_are_created_before_it() -> World:
    top = made(REALM, "top")
    left, right = gadget("left", top.owner()), config_map("right", top.owner())
    return World((top, left, right, secret("bottom", left.owner(), right.owner())))


@scenario()
def objects_that_own_each_other_are_never_created() -> World:
    top = cluster("c")
    one = gadget("one", top.owner(), gadget("two").owner(), ends=Ends.LEFT)
    two = gadget("two", one.owner(controller=True), ends=Ends.LEFT)
    return World((top, one, two, secret("below", two.owner(), ends=Ends.LEFT)))


@scenario()
def an_object_that_owns_itself_is_never_created() -> World:
    return World((made(ROVER, "r", Owner(ROVER, "r"), ends=Ends.LEFT), made(ROVER, "s")))


@scenario(verdict=Verdict.WE_REFUSE, check="outside-owners")
def an_object_whose_owner_does_not_move_is_never_created() -> World:
    holder = config_map("holder", ends=Ends.LEFT)
    return World((holder, made(ROVER, "r", holder.owner(), ends=Ends.LEFT), cluster("c")))


@scenario(options={"leave_behind": True})
def leaving_behind_what_has_an_owner_that_does_not_move_is_what_clusterctl_does() -> World:
    holder = config_map("holder", ends=Ends.LEFT)
    behind = made(REALM, "r", holder.owner(), ends=Ends.LEFT)
    return World((holder, behind, gadget("below", behind.owner(), ends=Ends.LEFT), cluster("c")))


@scenario()
def an_owner_that_does_not_move_may_be_on_the_target_already() -> World:
    holder = config_map("holder", ends=Ends.KEPT)
    return World((holder, made(ROVER, "r", holder.owner(), ends=Ends.LEFT)), (config_map("holder"),))
