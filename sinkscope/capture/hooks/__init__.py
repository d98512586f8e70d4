"""Hooks that carry what a model computes to a recorder, gone when the `with` block ends."""
