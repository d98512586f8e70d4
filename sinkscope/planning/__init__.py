"""What an analysis will need, computed from a model's configuration alone: memory, time, and the driver to take."""
