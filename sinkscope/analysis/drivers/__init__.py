"""How the passes of an analysis are made: the whole model at once, or one layer at a time."""
