"""Talking to an API server: kubeconfig, requests, retries, flow control.

`kubeconfig` is the only module of the project that imports `kubernetes`; `cluster` is what the rest uses.
"""

from mover.kube.cluster import LEASE_S, Cluster, Page, WatchEvent
from mover.kube.kubeconfig import IN_CLUSTER_CONTEXT, connect
from mover.kube.live import Live, LiveCluster
from mover.kube.reflector import Observer, Reflector

__all__ = [
    "IN_CLUSTER_CONTEXT",
    "LEASE_S",
    "Cluster",
    "Live",
    "LiveCluster",
    "Observer",
    "Page",
    "Reflector",
    "WatchEvent",
    "connect",
]
