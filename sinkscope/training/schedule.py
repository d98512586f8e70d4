"""Learning-rate schedules as a factor of the peak rate, a pure function of the step."""

import math

from sinkscope.training.recipe import ScheduleConfig


def rate_factor(step: int, schedule: ScheduleConfig) -> float:
    """Factor of the peak learning rate at optimizer step `step` (0-based).

    Linear warm-up from 0 over `warmup` steps; then either a half cosine from 1 to `final`, or 1 until the last
    `decay * steps` steps, which fall in a straight line to `final`. Both would reach `final` at step `steps`, behind
    the last one that is made.
    """
    if step < schedule.warmup:
        return (step + 1) / schedule.warmup
    if schedule.kind == "cosine":
        progress = (step - schedule.warmup) / max(1, schedule.steps - schedule.warmup)
        return schedule.final + (1 - schedule.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    start = schedule.steps * (1 - schedule.decay)
    progress = max(0.0, (step - start) / max(1.0, schedule.steps - start))
    return 1 - (1 - schedule.final) * min(1.0, progress)
