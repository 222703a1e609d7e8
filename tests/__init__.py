"""Tests of capi-mover."""
