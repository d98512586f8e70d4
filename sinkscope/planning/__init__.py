"""What an analysis will need, told from a model's configuration alone: memory, time, and the driver to take."""
