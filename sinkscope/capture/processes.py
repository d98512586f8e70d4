"""The former place of `sinkscope.launch.group`, kept so that code written against 0.1 goes on working."""

from sinkscope.launch.group import Processes, together

__all__ = ["Processes", "together"]
