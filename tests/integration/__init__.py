"""Moves between real control planes."""
