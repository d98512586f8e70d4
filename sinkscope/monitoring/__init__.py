"""Watching a training run from inside somebody else's loop."""
