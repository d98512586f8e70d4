"""The former place of `sinkscope.comparison.run`, kept so that code written against 0.1 goes on working."""

from sinkscope.comparison.compare_runs import compare_runs

__all__ = ["compare_runs"]
