"""The report of an analysis: its pages (`pages`), and its summary for the terminal (`terminal`)."""
