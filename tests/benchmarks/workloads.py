"""One measurement of the benchmark: a workload, run in this process alone.

Peak memory belongs to a process, so each measurement gets its own: `python workloads.py METHOD TOKENS GIB` prints one
JSON object; `--model FOLDER` takes the model of a folder, in float32. What is measured is what a run adds to a process
that is already up: after imports, the model and one tiny warm-up run, freed memory is handed back and the kernel's
high-water mark of resident memory reset (`/proc/self/clear_refs`, Linux); the workload runs once, and the rise is its
peak memory. The time is taken in further runs, so that it holds no one-off costs; memory is taken in the first, when no
earlier one has left anything.
"""

import argparse
import ctypes
import gc
import json
import re
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel
from transformers.utils import logging

import sinkscope
from sinkscope import heap
from sinkscope.capture.settings import Settings

SINK_WINDOW = 64
TOTAL_TOKENS = 8192
_WARM_UP_TOKENS = 80
_TIMED_SECONDS = 1.0

Workload = Callable[[PreTrainedModel, Tensor], None]


def build_model(attention: str, *, trainable: bool, folder: str | None = None) -> PreTrainedModel:
    """A folder's model, or a random Llama: 4 layers, 256 wide, 4 heads of 64, MLP 704, vocabulary 2048; float32."""
    torch.manual_seed(0)
    if folder is not None:
        loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention)
        return loaded.eval().requires_grad_(trainable)
    config = LlamaConfig(
        vocab_size=2048,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=64,
        max_position_embeddings=8192,
        attn_implementation=attention,
    )
    model = LlamaForCausalLM(config).eval()
    return model.requires_grad_(trainable)


def one_by_one(workload: Workload) -> Workload:
    """The workload on each sequence by itself."""

    def run(model: PreTrainedModel, input_ids: Tensor) -> None:
        for sequence in input_ids.split(1):
            workload(model, sequence)

    return run


def input_gradients(model: PreTrainedModel, input_ids: Tensor) -> None:
    """Forward, and a backward through activations only: parameters are frozen, the embedding's output asks for grad."""
    handle = model.get_input_embeddings().register_forward_hook(lambda _module, _args, output: output.requires_grad_())
    model(input_ids=input_ids, labels=input_ids, use_cache=False).loss.backward()
    handle.remove()


def training_step(model: PreTrainedModel, input_ids: Tensor) -> None:
    """Forward and backward as in training, without the optimizer's step."""
    model.zero_grad(set_to_none=True)
    model(input_ids=input_ids, labels=input_ids, use_cache=False).loss.backward()


def naive(model: PreTrainedModel, input_ids: Tensor) -> None:
    """What one writes first: keep every site with `retain_grad`, ask for the attention maps, take norms and alpha_0."""
    kept: dict[tuple[int, str], Tensor] = {}
    handles = []

    def keep(layer: int, site: str, tensor: Tensor) -> None:
        tensor.retain_grad()
        kept[layer, site] = tensor

    def on_input(module: nn.Module, layer: int, site: str) -> None:
        handles.append(module.register_forward_pre_hook(lambda _module, args: keep(layer, site, args[0])))

    def on_output(module: nn.Module, layer: int, site: str) -> None:
        def hook(_module: nn.Module, _args: object, output: Tensor | tuple[Tensor, ...]) -> None:
            keep(layer, site, output[0] if isinstance(output, tuple) else output)

        handles.append(module.register_forward_hook(hook))

    embedding = model.get_input_embeddings()
    handles.append(embedding.register_forward_hook(lambda _module, _args, output: output.requires_grad_()))
    for number, layer in enumerate(model.model.layers):
        on_input(layer.input_layernorm, number, "h_in")
        on_output(layer.input_layernorm, number, "hn")
        for site in "qkv":
            on_output(layer.self_attn.get_submodule(f"{site}_proj"), number, site)
        on_input(layer.self_attn.o_proj, number, "y")
        on_output(layer.self_attn, number, "r_attn")
        on_input(layer.post_attention_layernorm, number, "h_half")
        on_output(layer.post_attention_layernorm, number, "hn2")
        on_input(layer.mlp.down_proj, number, "down_in")
        on_output(layer.mlp, number, "r_mlp")
        on_output(layer, number, "h_out")
    on_input(model.model.norm, len(model.model.layers), "final_in")

    output = model(input_ids=input_ids, labels=input_ids, use_cache=False, output_attentions=True)
    output.loss.backward()
    for handle in handles:
        handle.remove()
    norms = {place: x.detach().norm(dim=-1).mean(0) for place, x in kept.items()}
    grad_norms = {place: x.grad.sum(0).norm(dim=-1) for place, x in kept.items()}
    alpha = [weights.detach()[:, :, :SINK_WINDOW, 0].mean(-1) for weights in output.attentions]
    if len(alpha) != len(model.model.layers) or norms.keys() != grad_norms.keys():
        raise RuntimeError("eager attention returned no maps")


def analyze_early(model: PreTrainedModel, input_ids: Tensor) -> None:
    """`sinkscope.analyze` as it is by default, without figures."""
    sinkscope.analyze(model, input_ids=input_ids, batch_size=1)


def analyze_all(model: PreTrainedModel, input_ids: Tensor) -> None:
    """`sinkscope.analyze` with statistics of every attention column."""
    sinkscope.analyze(model, input_ids=input_ids, batch_size=1, settings=Settings(columns="all"))


# Per method: the workload, the attention implementation, whether parameters get gradients.
METHODS: dict[str, tuple[Workload, str, bool]] = {
    "input-gradients": (one_by_one(input_gradients), "sdpa", False),
    "training": (one_by_one(training_step), "sdpa", True),
    "naive": (one_by_one(naive), "eager", False),
    "analyze-early": (analyze_early, "sdpa", False),
    "analyze-all": (analyze_all, "sdpa", False),
}


def measure(
    method: str, tokens: int, limit_gib: float, folder: str | None = None, total: int = TOTAL_TOKENS
) -> dict[str, float | str]:
    """Runs one method on `total` tokens, one sequence per pass.

    Args:
        method: a key of `METHODS`.
        tokens: length of a sequence.
        limit_gib: address space that the run may add to the process, in GiB.
        folder: of the model; by default a small random one.
        total: tokens in all.

    Returns:
        `seconds` (median of the timed runs) and `bytes` (peak resident memory that the first run added), or `failed`.
    """
    workload, attention, trainable = METHODS[method]
    model = build_model(attention, trainable=trainable, folder=folder)
    vocabulary = min(2048, int(model.config.vocab_size))
    input_ids = torch.randint(0, vocabulary, (total // tokens, tokens), generator=torch.Generator().manual_seed(1))
    workload(model, input_ids[:1, :_WARM_UP_TOKENS])
    model.zero_grad(set_to_none=True)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    limit = _status_bytes("VmSize") + int(limit_gib * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        before = _status_bytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        workload(model, input_ids)
        added = _status_bytes("VmHWM") - before
        times: list[float] = []
        while sum(times) < _TIMED_SECONDS:
            start = time.perf_counter()
            workload(model, input_ids)
            times.append(time.perf_counter() - start)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            return {"failed": f"more than {limit_gib:g} GiB"}
        raise
    return {"seconds": statistics.median(times), "bytes": float(added)}


def _status_bytes(field: str) -> int:
    """A memory figure of this process from the kernel, in bytes."""
    match = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    if match is None:
        raise RuntimeError(f"/proc/self/status has no {field}")
    return int(match[1]) * 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("tokens", type=int)
    parser.add_argument("limit_gib", type=float)
    parser.add_argument("--model")
    parser.add_argument("--total-tokens", type=int, default=TOTAL_TOKENS)
    given = parser.parse_args()
    heap.keep()
    logging.set_verbosity_error()
    print(json.dumps(measure(given.method, given.tokens, given.limit_gib, given.model, given.total_tokens)))
