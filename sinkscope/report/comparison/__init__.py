"""The report of a comparison: its pages (`pages`), and its summary for the terminal (`terminal`)."""
