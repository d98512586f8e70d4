"""Streaming statistics of one layer: fed pass by pass, stored, read back, and merged with those of other processes."""
