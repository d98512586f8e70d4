"""The headline numbers, declared once: a row per quantity, which every table, page, tracker and document reads.

To add one, add a row to `sinkscope.quantities.rows` and run `python -m sinkscope.quantities.reference README.md
docs/comparison.md docs/tracking.md`. Imports no torch.
"""
