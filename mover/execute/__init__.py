"""The only package that writes to a cluster: pausing, creating, deleting, resuming, in that order."""
