"""What can be chosen of a pivot: its steps, and where its programs run. Costs no time to import."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

IRONIC_NAMESPACE: Final = "baremetal-operator-system"
"""Where Metal3 puts Ironic and the operator (metal3-dev-env lib/common.sh, IRONIC_NAMESPACE)."""

IRONIC_PLACES: Final = tuple(
    f"{IRONIC_NAMESPACE}/{name}" for name in ("baremetal-operator-ironic", "ironic", "ironic-service")
)
"""What Ironic is called: by the kustomizations of baremetal-operator (with and without the name prefix of
metal3-dev-env), and by ironic-standalone-operator for an Ironic called "ironic" (ironicDeploymentName)."""

OPERATOR_PLACE: Final = f"{IRONIC_NAMESPACE}/baremetal-operator-controller-manager"
"""The baremetal-operator (CAPM3 test/e2e/pivoting.go)."""

IRONIC_OPERATOR_PLACE: Final = "ironic-standalone-operator-system/ironic-standalone-operator-controller-manager"
"""The ironic-standalone-operator (its config/default/kustomization.yaml)."""


class Step(StrEnum):
    """The steps of a pivot, in their order; see docs/pivot.md."""

    KUBECONFIG = "kubeconfig"
    CHECK = "check"
    STOP_IRONIC = "stop-ironic"
    START = "start"
    STABLE = "stable"
    MOVE = "move"
    STOP_OPERATOR = "stop-operator"
    VERIFY = "verify"
