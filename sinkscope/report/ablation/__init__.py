"""The report of an ablation: its pages (`pages`), and its summary for the terminal (`terminal`)."""
