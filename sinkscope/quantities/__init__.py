"""The headline numbers, declared once: a row per quantity, which every table, page, tracker and document reads.

To add one, add a row to `sinkscope.quantities.rows` and run `make docs`. Imports no torch.
"""
