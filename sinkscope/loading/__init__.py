"""Models by name: what a name stands for, what must be on disk, and how weights get into memory."""
