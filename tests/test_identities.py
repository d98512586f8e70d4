"""What theory says exactly, held on random models; what it bounds, never exceeded; and a check that can fail.

Equations (9), (10), (12) and (13) are evaluated with explicit sums over maps from eager attention and gradients from
autograd; equation (11) on synthetic draws whose covariances are known.
"""

import math

import numpy as np
import pytest
import torch
from reference import Layer, measure
from reference.models import LLAMAS, MIXTURES, STRUCTURES, tiny, tokens
from torch import Tensor

import sinkscope
from sinkscope import Settings
from sinkscope.capture.statistics.bound_tally import BoundTally
from sinkscope.intervals.headline_ends import headline_with_intervals
from sinkscope.loading.load import load_model
from sinkscope.metrics.bounds import measured_over_bound, value_bounds
from sinkscope.metrics.reshaping import NormAt, norm_bound, norm_vjp

TOKENS = 20
SETTINGS = Settings(sink_epsilon=0.25, sink_window=8, early=5, positions=12, columns="all")


@pytest.fixture(scope="module", params=[*LLAMAS, "opt", "demo"])
def measured(request: pytest.FixtureRequest) -> tuple[float, list[Layer]]:
    """The attention's scale, and every layer of every sequence of a tiny random model, or of the packaged demo."""
    model = load_model("demo").model if request.param == "demo" else tiny(request.param)
    found = measure(model, tokens(2, TOKENS))
    return found.scale, [layer for sequence in found.sequences for layer in sequence.layers]


def logit_signal(layer: Layer, head: int) -> Tensor:
    """b[t, s] = <g_t, v_s - y_t> of one query head, [T, T]."""
    group = len(layer.weights) // layer.x["v_scaled"].shape[1]
    g, y, v = layer.grad["y"][:, head], layer.x["y"][:, head], layer.x["v_scaled"][:, head // group]
    return g @ v.T - (g * y).sum(-1)[:, None]


def assert_close(found: Tensor, expected: Tensor) -> None:
    """Equal to 1e-4 of the largest entry: float32 gradients against float64 sums."""
    assert float(expected.abs().max()) > 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_value_gradients_are_column_sums(measured: tuple[float, list[Layer]]) -> None:
    """Equation (9), summed over the query heads of a group."""
    for layer in measured[1]:
        kv_heads = layer.grad["v_scaled"].shape[1]
        group = len(layer.weights) // kv_heads
        expected = torch.zeros_like(layer.grad["v_scaled"])
        for h, weights in enumerate(layer.weights):
            for s in range(TOKENS):
                for t in range(s, TOKENS):
                    expected[s, h // group] += weights[t, s] * layer.grad["y"][t, h]
        assert_close(layer.grad["v_scaled"], expected)


def test_key_gradients_are_weighted_sums_of_queries(measured: tuple[float, list[Layer]]) -> None:
    """Equation (10), summed over the query heads of a group."""
    scale, layers = measured
    for layer in layers:
        group = len(layer.weights) // layer.grad["k"].shape[1]
        expected = torch.zeros_like(layer.grad["k"])
        for h, weights in enumerate(layer.weights):
            b = logit_signal(layer, h)
            for s in range(TOKENS):
                for t in range(s, TOKENS):
                    expected[s, h // group] += scale * weights[t, s] * b[t, s] * layer.x["q"][t, h]
        assert_close(layer.grad["k"], expected)


def test_query_gradients_are_weighted_sums_of_keys(measured: tuple[float, list[Layer]]) -> None:
    """Equation (10) for queries: only a row's own keys enter."""
    scale, layers = measured
    for layer in layers:
        group = len(layer.weights) // layer.grad["k"].shape[1]
        expected = torch.zeros_like(layer.grad["q"])
        for h, weights in enumerate(layer.weights):
            b = logit_signal(layer, h)
            for s in range(TOKENS):
                for j in range(s + 1):
                    expected[s, h] += scale * weights[s, j] * b[s, j] * layer.x["k"][j, h // group]
        assert_close(layer.grad["q"], expected)


def test_logit_gradients_of_a_row_sum_to_zero(measured: tuple[float, list[Layer]]) -> None:
    for layer in measured[1]:
        for h, weights in enumerate(layer.weights):
            gradients = weights * logit_signal(layer, h)
            assert float(gradients.abs().max()) > 0
            assert float(gradients.sum(1).abs().max()) < 1e-4 * float(gradients.abs().sum(1).max())


def column(seed: int, length: int = 24) -> Tensor:
    """A column of attention weights in (0, 1), one of them large, float64 [length]."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(length, generator=generator, dtype=torch.float64) ** 2
    weights[0] = 1.0
    return weights


def expected_square(a: Tensor, mu: Tensor, covariance_traces: Tensor) -> float:
    """E|sum_t a_t g_t|^2 for E g_t = mu and tr cov(g_t, g_u) = covariance_traces[t, u], in closed form."""
    return float(a.sum() ** 2 * mu.square().sum() + a @ covariance_traces @ a)


def moment_bounds(a: Tensor, mu: Tensor, sigma2: float, rho: float) -> tuple[float, float]:
    """Both sides of equation (11)."""
    mass2, second = float(a.sum() ** 2), float(a.square().sum())
    coherent = mass2 * float(mu.square().sum())
    return coherent, coherent + sigma2 * second + rho * (mass2 - second)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shared", [0.0, 0.3, 0.9])
def test_second_moment_of_a_column_of_gradients(seed: int, shared: float) -> None:
    """Equation (11) with noise of equal variance that shares a part of it among all tokens: the upper side is exact.

    The simulated mean of 20000 draws must lie within 5 of its own standard errors of the closed form, which an honest
    simulation misses once in 10^6 runs; seeds are fixed, so it never flickers.
    """
    generator = torch.Generator().manual_seed(100 + seed)
    a, d, draws = column(seed), 8, 20000
    mu = torch.randn(d, generator=generator, dtype=torch.float64) / 4
    common = torch.randn(draws, 1, d, generator=generator, dtype=torch.float64) * shared**0.5
    own = torch.randn(draws, len(a), d, generator=generator, dtype=torch.float64) * (1 - shared) ** 0.5
    squares = torch.einsum("t,ntd->nd", a, mu + common + own).square().sum(1)
    alone = torch.eye(len(a), dtype=torch.float64)
    traces = d * (shared * torch.ones_like(alone) + (1 - shared) * alone)
    exact = expected_square(a, mu, traces)
    lower, upper = moment_bounds(a, mu, sigma2=d, rho=d * shared)
    assert exact == pytest.approx(upper, rel=1e-12)
    assert lower <= exact
    assert abs(float(squares.mean()) - exact) < 5 * float(squares.std()) / draws**0.5


@pytest.mark.parametrize("seed", range(20))
def test_moment_bounds_hold_for_any_noise(seed: int) -> None:
    """Equation (11) where variances differ and covariances have either sign: exact expectation, strictly inside."""
    generator = torch.Generator().manual_seed(seed)
    a = column(seed)
    mu = torch.randn(4, generator=generator, dtype=torch.float64)
    factor = torch.randn(len(a), len(a), generator=generator, dtype=torch.float64) / len(a) ** 0.5
    traces = factor @ factor.T
    rho = float((traces - traces.diag().diag()).abs().max())
    lower, upper = moment_bounds(a, mu, float(traces.diag().max()), rho)
    exact = expected_square(a, mu, traces)
    assert (traces < -0.01).any()
    assert lower < exact < upper
    understated = moment_bounds(a, mu, float(traces.diag().min()) / 10, 0.0)[1]
    assert exact > understated


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_slope_finds_the_power_of_the_mass_and_its_interval_covers_it(power: float) -> None:
    """Coherent gradients, |dL/dv_s|^2 = M_s^2 |mu|^2, have slope 1 whatever the masses; another law has another slope.

    A 95 % interval covers the truth in 38 of 40 draws of noise, with a standard deviation of 1.4: at least 33.
    """
    run = sinkscope.analyze(tiny("llama_gqa"), input_ids=tokens(6, TOKENS), settings=SETTINGS).run
    pairs = run["scatter"][run["scatter"]["kind"] == "mass_slope"][["layer", "sequence", "x"]]
    x = np.log(pairs["x"])
    generator = torch.Generator().manual_seed(0)
    slopes, covered = [], 0
    for _ in range(40):
        noise = torch.randn(len(pairs), generator=generator, dtype=torch.float64).mul(0.1).numpy()
        y = math.log(3) + power * x + noise
        parts = pairs.assign(pairs=1.0, x=x, y=y, xx=x * x, xy=x * y, yy=y * y)
        sums = parts.groupby(["layer", "sequence"], as_index=False).sum()
        numbers = headline_with_intervals({**run.tables, "slope_sums": sums}, SETTINGS.sink_epsilon)
        slopes.append(numbers["mass_slope"])
        covered += numbers["mass_slope_low"] < power < numbers["mass_slope_high"]
        assert numbers["mass_slope"] == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-9)
        assert numbers["mass_slope_r2"] == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2, rel=1e-9)
        assert numbers["mass_slope_pairs"] == len(pairs)
    assert sum(slopes) / len(slopes) == pytest.approx(power, abs=0.02)
    assert 33 <= covered <= 40


@pytest.mark.parametrize(
    ("family", "seed"),
    [*((name, seed) for name in LLAMAS for seed in range(4)), *((name, 1) for name in STRUCTURES + MIXTURES)],
)
def test_no_bound_is_violated_on_random_models(family: str, seed: int) -> None:
    """Equations (12) and (13) at every position of every sequence."""
    model = tiny(family, seed, massive=seed % 2 == 1)
    run = sinkscope.analyze(model, input_ids=tokens(3, TOKENS, seed), batch_size=3, settings=SETTINGS).run
    expected = {"value_mass": 3 * run.info["model"]["kv_heads"] * (TOKENS - 1)}
    expected |= {"value_moment": expected["value_mass"], "compress_attn": 3 * (TOKENS - 1)}
    expected |= {"compress_mlp": expected["compress_attn"]}
    for row in run["bounds"].itertuples():
        assert row.checked == expected[row.bound]  # the last token predicts nothing and has no gradient
        assert row.violations == 0
        assert 0 < row.mean_ratio <= row.max_ratio <= 1 + 1e-4


def value_case() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Mass, second moment, G and columns of a map whose rows of G agree, so that both bounds are tight, and |dL/dv|."""
    length, columns = 6, torch.tensor([0, 2])
    weights = torch.full((length, length), 0.5).tril()
    output_grad = torch.zeros(1, length, 1, 4)
    output_grad[..., 0] = 2.0
    mass, second = weights.sum(0)[columns], weights.square().sum(0)[columns]
    measured = (weights.T @ output_grad[0, :, 0]).norm(dim=-1)[columns]
    return mass[None, None], second[None, None], output_grad, columns, measured[None, None]


def test_value_bounds_are_tight_where_gradients_agree() -> None:
    mass, second, output_grad, columns, measured = value_case()
    for bound in value_bounds(mass, second, output_grad, columns, kv_heads=1):
        torch.testing.assert_close(measured_over_bound(measured, bound), torch.ones(1, 1, 2, dtype=torch.float64))


@pytest.mark.parametrize("wrong", ["mass", "second_moment", "output_grad", "columns"])
def test_value_bound_check_can_fail(wrong: str) -> None:
    """One wrong ingredient at a time: a mass that forgets 1 %, a column taken for a later one."""
    mass, second, output_grad, columns, measured = value_case()
    parts = {"mass": mass, "second_moment": second, "output_grad": output_grad, "columns": columns}
    parts[wrong] = columns + 2 if wrong == "columns" else parts[wrong] * 0.98
    bounds = value_bounds(**parts, kv_heads=1)
    violations = []
    for bound in bounds:
        tally = BoundTally(1e-4)
        tally.update(0, columns, measured, bound)
        assert tally.checked == 2
        violations.append(tally.violations)
    assert max(violations) == 2


def test_violations_begin_above_the_tolerance_and_zero_bounds_are_left_out() -> None:
    measured = torch.tensor([[1 + 0.5e-4, 1 + 2e-4, 0.5, 0.0]], dtype=torch.float64)
    bound = torch.tensor([[1.0, 1.0, 1.0, 0.0]], dtype=torch.float64)
    tally = BoundTally(1e-4)
    tally.update(0, torch.arange(4), measured, bound)
    assert (tally.checked, tally.violations) == (3, 1)
    assert tally.largest == pytest.approx(1 + 2e-4)
    assert tally.total == pytest.approx(2.5 + 2.5e-4)


@pytest.mark.parametrize("centered", [False, True], ids=["rms", "layer"])
def test_norm_bound_is_tight_across_the_input_and_its_check_can_fail(*, centered: bool) -> None:
    """A gradient that the Jacobian only scales reaches the bound; a forgotten gain breaks it.

    It is orthogonal to x, and for LayerNorm also to the ones, and lies in the channels of the largest gain.
    """
    x = torch.tensor([[3.0, -1.0, 1.0, 1.0]])
    gain = torch.tensor([0.5, 1.0, 2.0, 2.0])
    norm = NormAt(gain, 1e-6, centered)
    grad = torch.tensor([[0.0, 0.0, 5.0, -5.0]])
    compress = norm_vjp(grad, x, norm).norm(dim=-1) / grad.norm(dim=-1)
    right, forgotten = norm_bound(x, norm), norm_bound(x, NormAt(torch.ones(1), 1e-6, centered))
    assert float(measured_over_bound(compress, right)) == pytest.approx(1)
    tally = BoundTally(1e-4)
    tally.update(0, torch.tensor([0]), compress[None], forgotten[None])
    assert tally.violations == 1


@pytest.mark.parametrize("affine", [True, False])
def test_the_jacobian_of_layer_norm_is_torchs(*, affine: bool) -> None:
    torch.manual_seed(0)
    norm = torch.nn.LayerNorm(8, eps=1e-3, elementwise_affine=affine)
    if affine:
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    x, grad = torch.randn(5, 8, requires_grad=True), torch.randn(5, 8)
    expected = torch.autograd.grad(norm(x), x, grad)[0]
    gain = norm.weight.detach() if affine else torch.ones(1)
    torch.testing.assert_close(norm_vjp(grad, x.detach(), NormAt(gain, 1e-3, centered=True)), expected)
