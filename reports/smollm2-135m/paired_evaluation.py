"""What a method of quantization changes, document by document and needle by needle, from the runs of evaluate.sh.

    python reports/smollm2-135m/paired_evaluation.py [RUNS]

All runs score the same documents and ask for the same needles. The change of the loss therefore has an interval over
documents in which what makes a text hard cancels; and of the needles those count that one model finds and the other
does not, by the exact test of McNemar: the p-value of a fair coin.
"""

import sys
from pathlib import Path

import pandas as pd
from scipy.stats import binomtest

from sinkscope import Run, read_run
from sinkscope.intervals.loss_bootstrap import ratio_interval

NEEDLE = ["variant", "length", "depth", "seed"]


def main() -> None:
    """Prints a line for each method."""
    runs = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/smollm2-135m") / "evaluate"
    exact = read_run(runs / "none")
    for folder in sorted(runs.iterdir()):
        if folder.name == "none":
            continue
        run = read_run(folder)
        loss = _loss(exact, run) if "documents" in run.tables else "no perplexity"  # a cache of generation has none
        needles = exact["needles"].merge(run["needles"], on=NEEDLE, suffixes=("", "_other"), validate="1:1")
        print(f"{folder.name}: {loss}; needles {_needles(needles)}")


def _loss(exact: Run, run: Run) -> str:
    documents = exact["documents"].merge(run["documents"], on="document", suffixes=("", "_other"), validate="1:1")
    difference = (documents["nll_other"] - documents["nll"]).to_numpy()
    tokens = documents["tokens"].to_numpy(dtype=float)
    low, high = ratio_interval(difference, tokens, seed=0)
    return f"{difference.sum() / tokens.sum():+.4f} nats per token ({low:+.4f} to {high:+.4f})"


def _needles(both: pd.DataFrame) -> str:
    lost, won = (int((both[a] & ~both[b]).sum()) for a, b in (("found", "found_other"), ("found_other", "found")))
    p = binomtest(lost, lost + won).pvalue if lost + won else 1.0
    return f"{int(both['found_other'].sum())} of {len(both)}, {lost} lost and {won} won (p = {p:.2g})"


if __name__ == "__main__":
    main()
