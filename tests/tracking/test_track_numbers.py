"""Steps in names, intervals against a slow bootstrap, and appearances by hand."""

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from scipy import stats

import sinkscope
from sinkscope.analysis.measure import measure
from sinkscope.capture.settings import Settings
from sinkscope.errors import SinkscopeError
from sinkscope.intervals.draws import draws
from sinkscope.intervals.headline_ends import headline_with_intervals
from sinkscope.tables.run_folder import Run
from sinkscope.tracking.appearances import appearances
from sinkscope.tracking.checkpoints import step_of
from sinkscope.tracking.intervals import DRAWS, SEED, intervals

SETTINGS = Settings(positions=32, early=15)
IDS = torch.randint(2, 250, (4, 40), generator=torch.Generator().manual_seed(3))
RESAMPLED = ("loss", "sink_rate_mean", "sink_rate_max", "residual_t0_mean", "residual_t0_over_early",
             "mlp_t0_over_early_max", "attn_early_mean")  # fmt: skip


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("step-000500", 500),
        ("checkpoint-500", 500),
        ("step1000", 1000),
        ("step1000-tokens4B", 1000),
        ("stage2-step7", 7),
        ("pythia-160m_12", 12),
        ("global_step40", 40),
        ("0", 0),
    ],
)
def test_steps_are_read_from_names(name: str, step: int) -> None:
    assert step_of(name, "run") == step


def test_a_name_without_a_number_is_named() -> None:
    with pytest.raises(SinkscopeError, match="checkpoint main of owner/model"):
        step_of("main", "owner/model")


def analysis(ids: torch.Tensor) -> Run:
    return measure(tiny.build("llama_gqa", initializer_range=0.4), ids, settings=SETTINGS, batch_size=1)


def test_intervals_are_those_of_resampled_analyses() -> None:
    """Draws the same sequences, and measures the model on each draw from scratch; Student's t with their spread."""
    run = analysis(IDS)
    found, whole = intervals(run), run.info["headline"]
    (counts,) = draws(len(IDS), DRAWS, SEED, 0, 0)
    counts = counts.astype(int)
    kinds, which = np.unique(counts, axis=0, return_inverse=True)
    drawn = [analysis(IDS.repeat_interleave(torch.from_numpy(kind), 0)).info["headline"] for kind in kinds]
    for name in RESAMPLED:
        values = [drawn[place][name] for place in which.ravel()]
        if np.ptp(values) <= 1e-6 * np.mean(values):  # as sink rates may
            assert name not in found
            continue
        reach = stats.t.ppf(0.975, 3) * np.sqrt(4 / 3)
        if min(values) > 0:
            half = np.exp(reach * np.log(values).std())
            low, high = whole[name] / half, whole[name] * half
        else:
            half = reach * np.std(values)
            low, high = max(whole[name] - half, 0), whole[name] + half
        assert found[name] == pytest.approx((low, high), rel=2e-3), name


def test_means_lie_within_their_intervals() -> None:
    run = analysis(IDS)
    found = intervals(run)
    for name in ("loss", "perplexity", "residual_t0_mean", "residual_early_mean", "gradient_sink_median"):
        assert found[name][0] < run.info["headline"][name] < found[name][1]
    assert run.info["headline"] == headline_with_intervals(run.tables, SETTINGS.sink_epsilon)


def test_one_sequence_has_no_intervals() -> None:
    assert intervals(analysis(IDS[:1])) == {}


def test_without_gradients_theirs_are_absent() -> None:
    run = sinkscope.analyze(tiny.build("llama_gqa"), input_ids=IDS, settings=Settings(backward=False))
    found = intervals(run.run)
    assert "loss" in found
    assert "gradient_sink_median" not in found


def series(metric: str, values: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"step": [0, 10, 20, 30][: len(values)], "metric": metric, "value": values})


def test_appearances_by_hand() -> None:
    nan = float("nan")
    track = pd.concat(
        [
            series("alpha_max", [0.1, 0.3, 0.31, 0.5]),  # 0.3 itself does not exceed
            series("gradient_sink_median", [2.0, 1.0, 3.0, 3.0]),  # there, gone, there to stay
            series("residual_t0_over_early", [1.0, nan, 2.0, 1.9]),  # not at the last
            series("abs_over_median_max", [1.0, 49.0, 49.0, 49.0]),  # never
            series("massive_count", [nan, nan, nan, nan]),  # not measured
        ]
    )
    table = appearances(track.sample(frac=1, random_state=0), 0.3)
    rows = table.astype(object).where(table.notna(), None).values.tolist()
    assert rows == [
        ["attention sink", "alpha_max", 0.3, 20, 10, 20, 1],
        ["gradient sink", "gradient_sink_median", 2.0, 0, None, 20, None],  # never seen to appear
        ["large residual norm", "residual_t0_over_early", 2.0, 20, 10, None, 1],
        ["extreme activations", "abs_over_median_max", 50.0, None, None, None, None],
    ]


def test_a_checkpoint_over_again_narrows_no_interval() -> None:
    track = series("alpha_max", [0.1, 0.1, 0.5, 0.5])
    rows = [appearances(track, 0.3, copies).iloc[0] for copies in ((), {10}, {10, 30}, {10, 20, 30})]
    assert [(row["previous_step"], row["first_step"], row["rank"]) for row in rows[:3]] == [
        (10, 20, 1), (0, 20, 1), (0, 20, 1),
    ]  # fmt: skip
    assert rows[3][["first_step", "previous_step", "rank"]].isna().all()
