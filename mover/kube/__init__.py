"""Talking to an API server: kubeconfig, requests, retries, flow control.

`kubeconfig` is the only module of the project that imports `kubernetes`; `cluster` is what the rest uses.
"""

from mover.kube.cluster import LEASE_S, Cluster, Page, WatchEvent
from mover.kube.kubeconfig import IN_CLUSTER_CONTEXT, connect
from mover.kube.live import Live, LiveCluster

__all__ = ["IN_CLUSTER_CONTEXT", "LEASE_S", "Cluster", "Live", "LiveCluster", "Page", "WatchEvent", "connect"]
