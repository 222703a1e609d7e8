"""Tests of the names of files with objects."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from graph.resource import ObjectKey
from mover.directory import file_names

NAME = "a" * 63


def key(kind: str, name: str = "x", *, group: str = "g.io", namespace: str = "ns") -> ObjectKey:
    return ObjectKey(group, kind, namespace, name)


def test_a_file_is_called_as_clusterctl_calls_it() -> None:
    assert file_names([key("Machine"), key("ClusterThing", namespace="")]) == {
        key("Machine"): "Machine_ns_x.yaml",
        key("ClusterThing", namespace=""): "ClusterThing__x.yaml",
    }


def test_only_kinds_that_share_a_name_have_their_group_in_it() -> None:
    addresses = [key("IPAddress", group=group) for group in ("ipam.metal3.io", "ipam.cluster.x-k8s.io")]
    assert [*file_names([*addresses, key("IPAddress", "y"), key("Secret", group="")]).values()] == [
        "IPAddress.ipam.metal3.io_ns_x.yaml",
        "IPAddress.ipam.cluster.x-k8s.io_ns_x.yaml",
        "IPAddress_ns_y.yaml",
        "Secret_ns_x.yaml",
    ]


def test_a_kind_of_the_core_group_keeps_its_name() -> None:
    names = file_names([key("Secret", group=""), key("Secret", group="other.io")])
    assert [*names.values()] == ["Secret_ns_x.yaml", "Secret.other.io_ns_x.yaml"]


def test_names_that_differ_only_in_the_case_of_letters_are_told_apart() -> None:
    """Some file systems take them for the same."""
    names = [*file_names([key("IPPool"), key("IpPool")]).values()]
    assert len({name.casefold() for name in names}) == 2


def test_a_name_that_is_too_long_for_a_file_system_is_cut_and_stays_unique() -> None:
    long = ".".join([NAME] * 4)[:253]
    names = file_names([key("Machine", long), key("Machine", f"{long[:-1]}b")])
    assert len(set(names.values())) == 2
    assert all(len(name) <= 251 and name.endswith(".yaml") for name in names.values())


@given(
    st.sets(
        st.builds(
            ObjectKey,
            st.sampled_from(["", "a.io", "b.io"]),
            st.sampled_from(["Thing", "THing", "Other"]),
            st.sampled_from(["", "ns", "n"]),
            st.text("ab.", min_size=1, max_size=300),
        )
    )
)
def test_every_object_has_a_file_of_its_own_whatever_the_order(keys: set[ObjectKey]) -> None:
    names = file_names(sorted(keys))
    assert len({name.casefold() for name in names.values()}) == len(keys) == len(names)
    assert names == file_names(sorted(keys, reverse=True))
    assert all("/" not in name and len(name.encode()) <= 251 for name in names.values())
