"""The versions of the test bed follow the environment."""

import pytest

from tests.testbed.versions import Versions


def test_the_environment_overrides_single_versions() -> None:
    versions = Versions.from_environment({"KUBERNETES": "v1.34.4", "CAPI": "v1.13.6", "ETCD": ""})

    assert versions == Versions(kubernetes="v1.34.4", cluster_api="v1.13.6")


def test_a_version_without_its_v_is_refused() -> None:
    with pytest.raises(ValueError, match=r"CAPI=1\.13\.6 .* write it as v1\.13\.6"):
        Versions.from_environment({"CAPI": "1.13.6"})
