"""One measurement of peak memory against tokens, in this process alone: `memory_workloads.py METHOD KIND TOKENS GIB`.

One sequence runs through a random model of 4 layers, 256 wide; the weights are in memory before the measurement starts,
or in a folder where they are streamed from. Prints one JSON object.
"""

import argparse
import json
import resource
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from process import measured, status_bytes
from random_model import llama_config, write_random_model
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging
from workloads import naive

import sinkscope
from sinkscope import heap

WINDOW = 1024
VOCABULARY = 2048
KINDS = ("plain", "window", "padded")
_WARM_UP_TOKENS = 80

Workload = Callable[[PreTrainedModel | Path, Tensor, str], None]


def config_of(kind: str) -> Any:
    """Llama, or Mistral with a sliding window."""
    more = {"model_type": "mistral", "sliding_window": WINDOW} if kind == "window" else {}
    return llama_config(
        hidden=256, layers=4, mlp=704, heads=4, kv_heads=4, vocabulary=VOCABULARY, context=32768, **more
    )


def resident(model: Any, input_ids: Tensor, kind: str) -> None:
    """`analyze`; a padded sequence goes through `Scope`, its first quarter padding."""
    if kind == "padded":
        in_scope(model, input_ids)
    else:
        sinkscope.analyze(model, input_ids=input_ids)


def in_scope(model: PreTrainedModel, input_ids: Tensor) -> None:
    """A forward and backward pass of a left-padded sequence, watched by `Scope`."""
    mask = torch.ones_like(input_ids)
    mask[:, : input_ids.shape[1] // 4] = 0
    labels = input_ids.masked_fill(mask == 0, -100)
    model.requires_grad_(False)
    with sinkscope.Scope(model) as scope:
        model(input_ids=input_ids, attention_mask=mask, labels=labels, use_cache=False).loss.backward()
    scope.run()


def layer_by_layer(model: Any, input_ids: Tensor, _kind: str) -> None:
    """`analyze --gradient-checkpointing`."""
    sinkscope.analyze(model, input_ids=input_ids, gradient_checkpointing=True)


def streamed(folder: Any, input_ids: Tensor, _kind: str) -> None:
    """`analyze --stream`."""
    sinkscope.analyze(folder, input_ids=input_ids, stream=True, device="cpu")


def by_hand(model: Any, input_ids: Tensor, _kind: str) -> None:
    """The naive way: eager maps, `retain_grad` on every site."""
    naive(model, input_ids)


# Per method: the workload, the attention implementation (None: streamed from a folder), the kinds that it can do.
METHODS: dict[str, tuple[Workload, str | None, tuple[str, ...]]] = {
    "resident": (resident, "sdpa", KINDS),
    "layer_by_layer": (layer_by_layer, "sdpa", ("plain", "window")),
    "streamed": (streamed, None, ("plain", "window")),
    "naive": (by_hand, "eager", ("plain",)),
}


def measure(method: str, kind: str, tokens: int, limit_gib: float) -> dict[str, Any]:
    """Runs one method on one sequence.

    Args:
        method: a key of `METHODS`.
        kind: one of `KINDS`.
        tokens: length of the sequence.
        limit_gib: address space that the run may add to the process, in GiB.

    Returns:
        Seconds and bytes, as in `process.Cost`, or `failed`.
    """
    workload, attention, _ = METHODS[method]
    ids = torch.randint(0, VOCABULARY, (1, tokens), generator=torch.Generator().manual_seed(1))
    with _model(kind, attention) as model:
        workload(model, ids[:, :_WARM_UP_TOKENS], kind)
        limit = status_bytes("VmSize") + int(limit_gib * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            with measured() as cost:
                workload(model, ids, kind)
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
                return {"failed": f"more than {limit_gib:g} GiB"}
            raise
    return asdict(cost)


@contextmanager
def _model(kind: str, attention: str | None) -> Any:
    config = config_of(kind)
    if attention is None:
        with tempfile.TemporaryDirectory() as folder:
            write_random_model(Path(folder), config)
            yield Path(folder)
    else:
        torch.manual_seed(0)
        yield AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval().requires_grad_(False)


def main() -> None:
    """Measures once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("tokens", type=int)
    parser.add_argument("limit_gib", type=float)
    options = parser.parse_args()
    heap.keep()
    logging.set_verbosity_error()
    print(json.dumps(measure(options.method, options.kind, options.tokens, options.limit_gib)))


if __name__ == "__main__":
    main()
