"""Orthogonal matrices that spread a large entry over all channels: Hadamard's where the width has one we can build.

A Hadamard matrix H has entries 1 and -1 and H H^T = n I, so H / sqrt(n) turns one large entry into n of equal size,
which no other orthogonal matrix does better. Sylvester's construction gives n = 2^k, Paley's the orders q + 1 for
primes q = 3 mod 4 and 2 (q + 1) for primes q = 1 mod 4; Kronecker products of them are Hadamard again (as 16 x 36).
For any other width a random orthogonal matrix stands in.

A Kronecker product is applied factor by factor, so that it costs the sum of its factors' orders per value.
"""

from dataclasses import dataclass
from math import prod, sqrt

import torch
from torch import Tensor

_PIECE = 64  # largest power of two kept as one factor


@dataclass(frozen=True)
class Orthogonal:
    """An orthogonal matrix as a Kronecker product.

    Attributes:
        factors: float64, each orthogonal.
        kind: which it is, in words.
    """

    factors: tuple[Tensor, ...]
    kind: str

    @property
    def width(self) -> int:
        """Rows and columns."""
        return prod(len(factor) for factor in self.factors)

    def dense(self) -> Tensor:
        """The matrix, float64 [n, n]."""
        whole = torch.ones(1, 1, dtype=torch.float64)
        for factor in self.factors:
            whole = torch.kron(whole, factor)
        return whole

    def times(self, x: Tensor) -> Tensor:
        """X Q for rows x [..., n], in float32 or wider, in the dtype of x."""
        precision = torch.promote_types(x.dtype, torch.float32)
        rows = x.to(precision).reshape(-1, *(len(factor) for factor in self.factors))
        for axis, factor in enumerate(self.factors, start=1):
            rows = (rows.movedim(axis, -1) @ factor.to(rows)).movedim(-1, axis)
        return rows.reshape(x.shape).to(x.dtype)


def orthogonal(width: int, seed: int) -> Orthogonal:
    """An orthogonal matrix that spreads: Hadamard's of this width, or else one drawn at random.

    Args:
        width: n.
        seed: of what is drawn.
    """
    power = 1
    while width % (2 * power) == 0:
        power *= 2
    while power >= 1:
        rest = width // power
        core = torch.ones(1, 1, dtype=torch.float64) if rest == 1 else paley(rest)
        if core is not None:
            pieces = [sylvester(order) for order in _pieces(power)]
            factors = [*pieces, core] if rest > 1 or not pieces else pieces
            scaled = tuple(factor / sqrt(len(factor)) for factor in factors)
            return Orthogonal(scaled, f"Hadamard, {width}" + (f" = {power} x {rest}" if rest > 1 and power > 1 else ""))
        power //= 2
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(width, width, dtype=torch.float64, generator=generator)
    q, r = torch.linalg.qr(drawn)
    return Orthogonal((q * r.diagonal().sign(),), f"random orthogonal, {width}")


def signs(width: int, seed: int) -> Tensor:
    """Random signs, float64 [n]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, (width,), generator=generator).double() * 2 - 1


def sylvester(order: int) -> Tensor:
    """Hadamard's matrix of an order 2^k."""
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < order:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix


def paley(order: int) -> Tensor | None:
    """A Hadamard matrix of Paley's, from the squares of a prime field; None where the order is none of theirs."""
    q = order - 1
    if _is_prime(q) and q % 4 == 3:
        return _bordered(q, -1) + torch.eye(order, dtype=torch.float64)
    q = order // 2 - 1
    if order % 4 == 0 and _is_prime(q) and q % 4 == 1:
        conference = _bordered(q, 1)
        unit = torch.eye(q + 1, dtype=torch.float64)
        return torch.kron(conference, torch.tensor([[1.0, 1.0], [1.0, -1.0]]).double()) + torch.kron(
            unit, torch.tensor([[1.0, -1.0], [-1.0, -1.0]]).double()
        )
    return None


def _bordered(q: int, lower: int) -> Tensor:
    """Jacobsthal's matrix of a prime field with a row of 1 above and a column of `lower` to its left."""
    squares = {x * x % q for x in range(1, q)}
    character = torch.tensor([0] + [1 if x in squares else -1 for x in range(1, q)], dtype=torch.float64)
    places = torch.arange(q)
    matrix = torch.zeros(q + 1, q + 1, dtype=torch.float64)
    matrix[1:, 1:] = character[(places[:, None] - places[None, :]) % q]
    matrix[0, 1:], matrix[1:, 0] = 1, lower
    return matrix


def _pieces(power: int) -> list[int]:
    pieces = []
    while power > 1:
        pieces.append(min(power, _PIECE))
        power //= pieces[-1]
    return pieces


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(sqrt(number)) + 1))
