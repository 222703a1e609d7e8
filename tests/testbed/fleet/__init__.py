"""A fleet of bare-metal clusters on a real API server: every object that CAPI and Metal3 would have made.

No controller runs for it. Names, owner references, finalizers, labels, statuses and field managers are those that
the controllers of CAPI v1.14 and of CAPM3, BMO and IPAM of the same time leave behind once all is provisioned.
"""

from tests.testbed.fleet.build import build, drafts
from tests.testbed.fleet.model import Fleet, FleetSpec

__all__ = ["Fleet", "FleetSpec", "build", "drafts"]
