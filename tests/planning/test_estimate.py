"""The estimates hold what a real analysis takes."""

import json
from pathlib import Path

import pytest
from forks import SCRIPT, Server
from transformers import LlamaConfig

from sinkscope.planning.choose import choose_driver

SHAPE = {
    "vocab_size": 4000,
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are read from Linux's /proc")
@pytest.mark.parametrize(("driver", "slack"), [("resident", 1.5), ("layer by layer", 2.0)])
def test_measured_peaks_lie_below_the_estimate(driver: str, slack: float, forks: Server) -> None:
    work = {"tokens": 512, "sequences": 2, "batch_size": 1, "dtype": "float32"}
    choice = choose_driver(LlamaConfig(**SHAPE), device="cpu", **work)
    request = json.dumps({"config": SHAPE, "driver": driver, **work})
    measuring = forks.start(SCRIPT, [str(Path(__file__).parent / "peak.py"), request])
    assert measuring.wait() == 0, measuring.err
    measured = int(measuring.out.split()[-1])
    assert measured < choice.bytes[driver] < slack * measured
