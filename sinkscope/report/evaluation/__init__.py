"""The report of an evaluation: its pages (`pages`), and its summary for the terminal (`terminal`)."""
