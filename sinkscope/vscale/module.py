"""V-scale: a gradient valve on the values of one attention layer.

Each value vector v of a head is multiplied by a factor that depends on its own squared length,

    v_hat = phi(r) v,    r = |v|^2,    phi(r) = r / (r + C),    C > 0.                      (14)

Long vectors pass unchanged, short ones are damped, and so are the gradients that flow back into them: the Jacobian

    J = phi I + 2 C / (r + C)^2 v v^T                                                       (16)

has eigenvalue phi across v and (r^2 + 3 C r) / (r + C)^2 along it, about 3 r / C for r << C and never above 9/8. A
network that wants to quieten the gradient at the sink token can then shorten its value there, and needs no massive
activation to do so. Attention weights are untouched.

C has one learned scalar per value head, C = scale * exp(theta) (15), where theta starts at 0. Everything is computed in
float32, whatever the model's dtype, because r overflows float16 and exp(theta) loses its small steps in bfloat16.

Forward and backward are written out as one autograd function, from theta to the scaled values: autograd would keep four
tensors of the size of v, this keeps v and its squared norms. What is as large as v is written over as soon as it is not
needed any more, since on a CPU the pages of a new block cost more than what is computed in it. And the valve stands
where attention has to reorder its values in memory: projections put the heads of a token side by side, products of
attention the tokens of a head. Scaled values are written in the second order, gradients in the first, so that nobody
has to copy them again. What is saved has no graph, so a gradient of the gradient is refused: it would be wrong.
Equation numbers are those of docs/definitions.md, after arXiv:2603.17771.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sinkscope.compat.module_tensors import KeepsItsOwn

VARIANTS = ("learned", "fixed", "backward-only")

# Keeps 0 / 0 away where the ramp is still at 0 and a value vector vanishes; far below any squared norm that matters.
_TINY = torch.finfo(torch.float32).tiny


class VScale(KeepsItsOwn):
    """The valve of one attention layer, equations (14) to (17) of docs/definitions.md.

    The variants: `learned` trains theta; `fixed` keeps it; `backward-only` passes the values on unchanged and applies
    only the Jacobian to their gradients (17), a diagnostic that separates what the valve does to gradients from what
    it does to activations.

    It moves with the model but stays float32 when the model is cast, and a checkpoint of the bare model loads strictly:
    what it does not hold keeps its value.

    Attributes:
        theta: log of the factor on `scale`, one per value head, float32 [K].
        scale: C at theta = 0, squared norms, float32 [K].
        ramp: factor on C, float32 scalar; below 1 only while a warm-up raises the valve.
        variant: one of `VARIANTS`.
    """

    theta: nn.Parameter
    scale: Tensor
    ramp: Tensor

    def __init__(self, scale: Tensor, variant: str = "learned") -> None:
        if variant not in VARIANTS:
            raise ValueError(f"a variant of V-scale is one of {', '.join(VARIANTS)}, not {variant}")
        super().__init__()
        self.variant = variant
        scale = scale.detach().float().clone()
        self.theta = nn.Parameter(torch.zeros_like(scale), requires_grad=variant == "learned")
        self.register_buffer("scale", scale)
        self.register_buffer("ramp", torch.ones((), dtype=torch.float32, device=scale.device))

    @property
    def C(self) -> Tensor:
        """The squared norm at which a value is halved, float32 [K]."""
        return self.ramp * self.scale * self.theta.exp()

    def forward(self, v: Tensor) -> Tensor:
        """Scales value vectors.

        Args:
            v: values [B, K, T, d], of any floating dtype.

        Returns:
            The scaled values, of the same shape and dtype.
        """
        full = self.ramp * self.scale
        if self.variant == "backward-only":
            return _apply(_BackwardOnly, v, full, self.theta)
        return _apply(_Valve, v, full, self.theta)

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"heads={len(self.theta)}, variant={self.variant}"


def phi(r: Tensor, C: Tensor) -> Tensor:
    """The factor of equation (14), r / (r + C), for squared norms r >= 0 and C >= 0."""
    return r / (r + C).clamp_min(_TINY)


def jacobian_product(v: Tensor, C: Tensor, g: Tensor, r: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Pulls a gradient back through the valve.

    Args:
        v: values [..., d], of any floating dtype.
        C: as broadcast against [..., 1].
        g: gradient at the scaled values [..., d], of the dtype of v.
        r: |v|^2 [..., 1] where it is known.

    Returns:
        J g of equation (16) (J is symmetric) [..., d], in memory as v is, and the gradient of C before broadcasting is
        summed out [..., 1]: d phi / dC <v, g> = -r / (r + C)^2 <v, g>.
    """
    x, y = _wide(v), _wide(g)
    r = squared_norms(x) if r is None else r
    inverse = (r + C).clamp_min_(_TINY).reciprocal_()
    factor, along = r * inverse, (x * y).sum(-1, keepdim=True).mul_(inverse)
    pulled = torch.mul(y, factor, out=torch.empty_like(x) if y is g else y)
    pulled.addcmul_((2 * C * inverse).mul_(along), x)
    return pulled if y is g else torch.empty_like(v).copy_(pulled), (factor * along).neg_()


def squared_norms(v: Tensor) -> Tensor:
    """The squared norms |v|^2 in float32, [..., 1] from [..., d]."""
    return v.square().sum(-1, keepdim=True, dtype=torch.float32)


def _wide(x: Tensor) -> Tensor:
    """The same in float32 (float64 stays): a tensor of its own where the dtype is another one, else `x` itself."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def _apply(function: Any, v: Tensor, full: Tensor, theta: Tensor) -> Tensor:
    """Calls an autograd function; `apply` is untyped in torch."""
    return cast("Tensor", function.apply(v, full, theta))


def _per_head(full: Tensor, theta: Tensor) -> Tensor:
    """C of equation (15), as [K, 1, 1]."""
    return (full * theta.exp())[:, None, None]


class _Valve(torch.autograd.Function):
    """Equation (14) with the Jacobian (16), and dC / dtheta = C."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, full: Tensor, theta: Tensor) -> Tensor:
        x, C = _wide(v), _per_head(full, theta)
        r = squared_norms(x)
        ctx.save_for_backward(v, C, r)
        factor = phi(r, C)
        if x is v:
            return torch.mul(x, factor, out=v.new_empty(v.shape))
        return x.mul_(factor).to(v.dtype, memory_format=torch.contiguous_format)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, Tensor | None]:
        v, C, r = ctx.saved_tensors
        pulled, of_C = jacobian_product(v, C, grads[0], r)
        return pulled, None, (of_C.sum((0, 2)) * C[:, 0]).flatten() if ctx.needs_input_grad[2] else None


class _BackwardOnly(torch.autograd.Function):
    """Equation (17): the identity with the Jacobian (16). Computed as such, it is exact in every dtype."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, full: Tensor, theta: Tensor) -> Tensor:
        ctx.save_for_backward(v, _per_head(full, theta))
        return v.view_as(v)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        v, C = ctx.saved_tensors
        return jacobian_product(v, C, grads[0])[0], None, None
