"""The pivot: a cluster's objects into the cluster itself, or back, with Ironic and the operators around them."""
