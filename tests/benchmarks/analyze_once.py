"""One analysis of a model folder by one driver, in this process alone: the child of the benchmarks of whole analyses.

    python analyze_once.py FOLDER OUT --driver streamed --tokens 512 --sequences 4

writes the run's tables to OUT and prints one JSON object. Loading the weights is part of what is measured; imports and
a warm-up analysis of the packaged demo model by the same driver are not.
"""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from process import measured
from transformers.utils import logging

import sinkscope
from sinkscope import heap
from sinkscope.tables.run_folder import write_run

DRIVERS: dict[str, dict[str, Any]] = {
    "resident": {},
    "layer_by_layer": {"gradient_checkpointing": True},
    "streamed": {"stream": True},
    "spilled": {"stream": True, "spill": True},
}


def analyze(folder: str, driver: str, **options: Any) -> sinkscope.Analysis:
    """Analyzes by a driver; boundary states that are spilled go to a temporary folder."""
    how = DRIVERS[driver]
    if not how.get("spill"):
        return sinkscope.analyze(folder, device="cpu", **how, **options)
    with tempfile.TemporaryDirectory(dir=Path()) as spill:
        return sinkscope.analyze(folder, device="cpu", **{**how, "spill": spill}, **options)


def main() -> None:
    """Measures one analysis."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--driver", choices=DRIVERS, default="resident")
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    heap.keep()
    torch.set_num_threads(options.threads)
    logging.set_verbosity_error()
    analyze("demo", options.driver, tokens=128, sequences=1)
    with measured() as cost:
        analysis = analyze(
            options.folder,
            options.driver,
            tokens=options.tokens,
            sequences=options.sequences,
            batch_size=options.batch_size,
        )
    write_run(analysis.run, options.out)
    print(json.dumps(asdict(cost)))


if __name__ == "__main__":
    main()
