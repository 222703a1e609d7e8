"""Moves Cluster API and Metal3 objects between management clusters."""
