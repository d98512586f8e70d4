"""One training run, checkpoint by checkpoint."""
