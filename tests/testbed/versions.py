"""Which versions of Kubernetes, etcd, Cluster API and toxiproxy the test bed runs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

# The names that `make compare CAPI=v1.13.6 KUBERNETES=v1.34.4` uses.
_VARIABLES = {
    "kubernetes": "KUBERNETES",
    "etcd": "ETCD",
    "cluster_api": "CAPI",
    "toxiproxy": "TOXIPROXY",
}


@dataclass(frozen=True)
class Versions:
    """The version of each part of the test bed, as Go module versions (`v1.36.3`).

    Example:
        >>> Versions(kubernetes="v1.34.4").cluster_api
        'v1.14.2'
    """

    kubernetes: str = "v1.36.3"
    etcd: str = "v3.6.16"
    cluster_api: str = "v1.14.2"
    toxiproxy: str = "v2.5.0"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value.startswith("v"):
                raise ValueError(f"{_VARIABLES[field.name]}={value} is not a Go module version: write it as v{value}")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Returns the default versions, overridden by KUBERNETES, ETCD, CAPI and TOXIPROXY.

        Args:
            environment: The variables to read; an empty value counts as not set.
        """
        overrides = {name: environment.get(variable, "") for name, variable in _VARIABLES.items()}
        return cls(**{name: value for name, value in overrides.items() if value})
