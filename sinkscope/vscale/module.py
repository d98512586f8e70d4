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

Forward and backward are written out as one autograd function: autograd would keep four tensors of the size of v, this
keeps v and its squared norms. Equation numbers are those of docs/definitions.md, after arXiv:2603.17771.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

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
        C = self.C[:, None, None]
        if self.variant == "backward-only":
            return _apply(_BackwardOnly, v, C)
        return _apply(_Valve, v, C)

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"heads={len(self.theta)}, variant={self.variant}"


def phi(r: Tensor, C: Tensor) -> Tensor:
    """The factor of equation (14), r / (r + C), for squared norms r >= 0 and C >= 0."""
    return r / (r + C).clamp_min(_TINY)


def jacobian_product(v: Tensor, C: Tensor, g: Tensor, r: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Pulls a gradient back through the valve.

    Args:
        v: values, float32 [..., d].
        C: as broadcast against [..., 1].
        g: gradient at the scaled values, float32 [..., d].
        r: |v|^2 [..., 1] where it is known.

    Returns:
        J g of equation (16) (J is symmetric) [..., d], and the gradient of C before broadcasting is summed out
        [..., 1]: d phi / dC <v, g> = -r / (r + C)^2 <v, g>.
    """
    r = squared_norms(v) if r is None else r
    inverse = 1 / (r + C).clamp_min(_TINY)
    factor, along = r * inverse, (v * g).sum(-1, keepdim=True) * inverse
    return torch.addcmul(factor * g, 2 * C * inverse * along, v), -factor * along


def squared_norms(v: Tensor) -> Tensor:
    """The squared norms |v|^2 in float32, [..., 1] from [..., d]."""
    return v.square().sum(-1, keepdim=True, dtype=torch.float32)


def _apply(function: Any, v: Tensor, C: Tensor) -> Tensor:
    """Calls an autograd function; `apply` is untyped in torch."""
    return cast("Tensor", function.apply(v, C))


class _Valve(torch.autograd.Function):
    """Equation (14) with the Jacobian (16)."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, C: Tensor) -> Tensor:
        x = v.float()
        r = squared_norms(x)
        ctx.save_for_backward(v, C, r)
        return (phi(r, C) * x).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None]:
        v, C, r = ctx.saved_tensors
        pulled, of_C = jacobian_product(v.float(), C, grads[0].float(), r)
        return pulled.to(v.dtype), of_C.sum((0, 2), keepdim=True)[0] if ctx.needs_input_grad[1] else None


class _BackwardOnly(torch.autograd.Function):
    """Equation (17): the identity with the Jacobian (16). Computed as such, it is exact in every dtype."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, C: Tensor) -> Tensor:
        ctx.save_for_backward(v, C)
        return v.view_as(v)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        v, C = ctx.saved_tensors
        return jacobian_product(v.float(), C, grads[0].float())[0].to(v.dtype), None
