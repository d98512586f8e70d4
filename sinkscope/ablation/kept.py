"""An unfinished ablation on disk, beside the place of the finished one: `.NAME.ablation/`, small files of results."""

from sinkscope.unfinished import Kept

__all__ = ["KIND", "Kept"]

KIND = "ablation"
