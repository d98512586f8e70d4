"""What a monitor logs. One more headline number is one more name."""

from sinkscope.tables.run_folder import Run

HEADLINE = (
    "loss",
    "sink_rate_mean",
    "sink_rate_max",
    "gradient_sink_median",
    "abs_max",
    "abs_max_over_median",
    "massive_count",
    "residual_t0_over_early",
)


def logged(run: Run) -> dict[str, float]:
    """The numbers of a run that go to a tracker; what the run has not measured is left out."""
    head = run.info["headline"]
    found = {name: float(head[name]) for name in HEADLINE if head[name] is not None}
    return found | thetas(run)


def thetas(run: Run) -> dict[str, float]:
    """Mean, smallest and largest theta of V-scale (15) over layers and value heads; empty without V-scale."""
    if "vscale" not in run.tables:
        return {}
    theta = run["vscale"]["theta"]
    return {"theta_mean": float(theta.mean()), "theta_min": float(theta.min()), "theta_max": float(theta.max())}
