"""Peak memory of one analysis, in a process of its own: run as a script by the test of the estimates.

Prints the bytes that loading the weights and analyzing added above the imports and a first, smaller analysis.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from process import measured
from transformers import LlamaConfig, LlamaForCausalLM

import sinkscope


def main() -> None:
    request: dict[str, Any] = json.loads(sys.argv[1])
    ids = torch.randint(0, request["config"]["vocab_size"], (request["sequences"], request["tokens"]))
    how = {"gradient_checkpointing": True} if request["driver"] == "layer by layer" else {}
    sinkscope.analyze("demo", sequences=1, tokens=80, device="cpu", **how)
    with measured() as cost:
        if request["driver"] == "streamed":
            sinkscope.analyze(Path(request["folder"]), input_ids=ids, stream=True, device="cpu")
        else:
            dtype = getattr(torch, request["dtype"])
            model = LlamaForCausalLM._from_config(LlamaConfig(**request["config"]), dtype=dtype).eval()
            sinkscope.analyze(model, input_ids=ids, batch_size=request["batch_size"], **how)
    print(cost.bytes)


if __name__ == "__main__":
    main()
