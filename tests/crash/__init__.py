"""A move that is killed at any write loses nothing: it is gone on with, or taken back."""
