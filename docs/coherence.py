"""How R_GS depends on the number of sequences: the table of docs/intervals.md, from the run folder of an `analyze`.

    python docs/coherence.py RUN

`gradient_blocks` has the inner products of the gradients of single sequences, so the gradient of any subset is known.
Measured: the median over layers of R_GS of a subset, mean over 200 random subsets. From the coherences: of each layer
and position |mu_t|^2 is the mean inner product of two different sequences and v_t what is left of one's own, which
gives E |sum|^2 = N^2 |mu_t|^2 + N v_t, and R_GS with that. A run of more sequences than blocks is refused.
"""

import sys
from pathlib import Path

import numpy as np

from sinkscope import read_run
from sinkscope.intervals.draws import Array
from sinkscope.intervals.gradient_sink_blocks import block_products

SUBSETS = 200


def ratio(squares: Array) -> float:
    """The median over layers of R_GS, from squared norms [layer, position]."""
    norms = np.sqrt(squares)
    return float(np.median(norms[:, 0] / norms[:, 1:].mean(axis=1)))


def main() -> None:
    """Prints a line for each number of sequences, and the coherences."""
    run = read_run(Path(sys.argv[1]))
    products = block_products(run["gradient_blocks"], len(run["layers"]))
    count = products.shape[-1]
    if count != run.info["data"]["sequences"]:
        sys.exit(f"{sys.argv[1]} has {count} blocks of {run.info['data']['sequences']} sequences: analyze fewer")
    own = np.einsum("ltii->lt", products) / count
    common = (products.sum(axis=(2, 3)) - own * count) / (count * (count - 1))
    spread = own - common
    random = np.random.default_rng(0)
    sizes = [2**power for power in range(count.bit_length()) if 2**power <= count]
    lines = []
    for size in sizes:
        subsets = [random.choice(count, size, replace=False) for _ in range(SUBSETS if size < count else 1)]
        measured = np.mean([ratio(products[:, :, some][:, :, :, some].sum(axis=(2, 3))) for some in subsets])
        predicted = ratio(size**2 * common + size * spread)
        lines.append(f"{size} sequences: measured {measured:.2f}, from the coherences {predicted:.2f}")
    coherence = common / spread
    lines.append(f"c_0 {np.median(coherence[:, 0]):.4f}, c {np.median(coherence[:, 1:]):.5f}; medians over layers")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
