"""What was measured, as data frames: declared columns, rows, and the folder on disk. Imports no torch."""
