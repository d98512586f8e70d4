"""The valve is the function of its equations, with that function's gradients, in every dtype and when compiled."""

import math

import pytest
import torch
from torch import Tensor

from sinkscope.vscale import VScale
from sinkscope.vscale.module import jacobian_product, phi

SCALE = torch.tensor([0.5, 2.0, 9.0])
THETA = torch.tensor([0.1, -0.3, 0.7])


def valve(variant: str = "learned") -> VScale:
    module = VScale(SCALE, variant)
    module.theta.data = THETA.clone()
    return module


def plain(v: Tensor, theta: Tensor) -> Tensor:
    """Equation (14) as written, through autograd."""
    C = (SCALE * theta.exp())[:, None, None]
    r = (v * v).sum(-1, keepdim=True)
    return r / (r + C) * v


def values(dtype: torch.dtype = torch.float32) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 3, 5, 4).to(dtype)


def test_output_and_gradients_agree_with_autograd_of_the_formula() -> None:
    module, weight = valve(), torch.randn(2, 3, 5, 4)
    v = values().requires_grad_()
    (module(v) * weight).sum().backward()
    u, theta = values().requires_grad_(), THETA.clone().requires_grad_()
    (plain(u, theta) * weight).sum().backward()
    torch.testing.assert_close(module(v), plain(u, theta))
    torch.testing.assert_close(v.grad, u.grad)
    torch.testing.assert_close(module.theta.grad, theta.grad)


def test_theta_gradient_agrees_with_finite_differences() -> None:
    module, weight, step = valve(), torch.randn(2, 3, 5, 4), 1e-2
    (module(values()) * weight).sum().backward()
    for head in range(3):
        up, down = THETA.double(), THETA.double()
        up[head] += step
        down[head] -= step
        change = (plain(values().double(), up) - plain(values().double(), down)) * weight
        assert module.theta.grad is not None
        assert float(change.sum()) / (2 * step) == pytest.approx(float(module.theta.grad[head]), rel=1e-3)


@pytest.mark.parametrize("ratio", [1e-4, 0.1, 1.0, 3.0, 50.0])
def test_jacobian_has_the_eigenvalues_of_equation_16(ratio: float) -> None:
    c = 2.0
    v = torch.randn(6, dtype=torch.float64)
    v = v / v.norm() * math.sqrt(ratio * c)
    r, C = ratio * c, torch.tensor([c], dtype=torch.float64)
    rows = torch.stack([jacobian_product(v, C, e)[0] for e in torch.eye(6, dtype=torch.float64)])
    of_formula = torch.autograd.functional.jacobian(lambda x: x.square().sum() / (x.square().sum() + c) * x, v)
    torch.testing.assert_close(rows, of_formula)
    across, along = r / (r + c), (r * r + 3 * c * r) / (r + c) ** 2
    expected = torch.tensor([across] * 5 + [along], dtype=torch.float64).sort().values
    torch.testing.assert_close(torch.linalg.eigvalsh(rows), expected)


def test_no_gradient_grows_by_more_than_nine_eighths() -> None:
    c = 1.7
    r = torch.linspace(0.01, 60 * c, 200_001, dtype=torch.float64)
    along = (r * r + 3 * c * r) / (r + c) ** 2
    assert float(along.max()) == pytest.approx(9 / 8, abs=1e-8)
    assert float(r[along.argmax()]) == pytest.approx(3 * c, rel=1e-2)
    v = torch.zeros(4, dtype=torch.float64)
    v[0] = math.sqrt(3 * c)
    pulled, _ = jacobian_product(v, torch.tensor([c], dtype=torch.float64), v / v.norm())
    assert float(pulled.norm()) == pytest.approx(9 / 8)


def test_backward_only_passes_values_on_bit_by_bit_and_pulls_gradients_through_the_jacobian() -> None:
    module = VScale(SCALE, "backward-only")
    v, weight = values().requires_grad_(), torch.randn(2, 3, 5, 4)
    out = module(v)
    assert torch.equal(out, v)
    (out * weight).sum().backward()
    u = values().requires_grad_()
    (plain(u, torch.zeros(3)) * weight).sum().backward()
    torch.testing.assert_close(v.grad, u.grad)
    assert module.theta.grad is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_values_are_scaled_in_float32(dtype: torch.dtype) -> None:
    v = (300 * values()).to(dtype)  # squares overflow float16
    out = valve()(v)
    assert out.dtype == dtype
    assert torch.equal(out, plain(v.float(), THETA).to(dtype))


def test_stays_float32_when_the_model_is_cast() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), valve())
    model.half()
    model.bfloat16()
    assert model[0].weight.dtype == torch.bfloat16
    assert [x.dtype for x in (model[1].theta, model[1].scale, model[1].ramp)] == [torch.float32] * 3
    torch.testing.assert_close(model[1].theta.data, THETA)


def test_a_closed_ramp_lets_everything_through_even_zeros() -> None:
    module = valve()
    module.ramp.fill_(0)
    v = values()
    v[0, 0, 0] = 0
    assert torch.equal(module(v), v)
    assert torch.equal(phi(torch.zeros(1), torch.zeros(1)), torch.zeros(1))


def test_autocast_changes_nothing() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        out = valve()(values())
    assert torch.equal(out, valve()(values()))


@pytest.mark.slow
def test_compiles_without_a_graph_break() -> None:
    module, weight = valve(), torch.randn(2, 3, 5, 4)
    v, u = values().requires_grad_(), values().requires_grad_()
    (torch.compile(module, fullgraph=True)(v) * weight).sum().backward()
    compiled, module.theta.grad = module.theta.grad, None
    (module(u) * weight).sum().backward()
    torch.testing.assert_close(v.grad, u.grad)
    torch.testing.assert_close(compiled, module.theta.grad)


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(ValueError, match="learned, fixed, backward-only"):
        VScale(SCALE, "loud")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_leave_as_attention_reads_them_and_gradients_as_the_projection_does(dtype: torch.dtype) -> None:
    v = torch.randn(2, 5, 3, 4, dtype=dtype).transpose(1, 2).requires_grad_()  # of [B, T, K, d]
    out = valve()(v)
    assert out.is_contiguous()
    (grad,) = torch.autograd.grad(out, v, torch.randn(2, 3, 5, 4, dtype=dtype))
    assert grad.transpose(1, 2).is_contiguous()


@pytest.mark.parametrize("variant", ["learned", "backward-only"])
def test_a_gradient_of_the_gradient_is_refused(variant: str) -> None:
    v = values().requires_grad_()
    (first,) = torch.autograd.grad(valve(variant)(v).square().sum(), v, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.square().sum().backward()
