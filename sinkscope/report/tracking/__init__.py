"""The report of a track: its pages (`pages`), and its summary for the terminal (`terminal`)."""
