"""The same objects moved by `clusterctl move` and by capi-mover, between twin pairs of control planes."""
