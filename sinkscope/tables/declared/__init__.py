"""The tables of each kind of run, declared once."""
