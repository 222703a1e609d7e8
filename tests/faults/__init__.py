"""Moves through faults: lost answers, outages, refusals, disturbers, second movers, and their safe ends."""
