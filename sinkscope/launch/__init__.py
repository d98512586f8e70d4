"""Processes launched together, and Ctrl-C that cannot get lost."""
