"""A cache of few bits as attention sees it: `rounding` the arithmetic, `attention` who sees what, `probe` a model."""
