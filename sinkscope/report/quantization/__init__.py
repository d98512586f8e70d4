"""The report of a quantization run: its pages (`pages`), and its summary for the terminal (`terminal`)."""
