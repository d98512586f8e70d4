"""Number formats of linear maps: what values there are (`table`), and how a tensor is rounded to them (`rounding`).

`table` and `side` need no torch, so that a name is understood, or refused, before it is imported.
"""
