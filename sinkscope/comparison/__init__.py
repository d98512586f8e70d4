"""Runs against each other: which quantities moved, by what ratio, and how sure that is.

    from sinkscope.comparison.compare_runs import compare_runs

    compared = compare_runs([read_run(Path("runs/demo")), read_run(Path("runs/demo-vscale"))], ["demo", "demo-vscale"])
    compared["comparison"]

Works on run folders alone: pandas and numpy, no torch and no model. docs/comparison.md has the definitions.
"""
