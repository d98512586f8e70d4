"""Sink rate and norms by TransformerLens: `peer_transformer_lens.py FOLDER SEQUENCES TOKENS THREADS REPETITIONS`.

The nearest that it can do: one forward pass per window with a cache of the attention patterns and of the residual
stream, the attention's and the MLP's output of every layer; norms and alpha_0 are taken afterwards. No gradients.
Prints what `command_workloads.py` prints.
"""

import json
import sys

import torch
from process import timed
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, PreTrainedModel

EPSILON, WINDOW = 0.3, 64
SITES = ("hook_attn_out", "hook_mlp_out", "hook_resid_post")


@torch.no_grad()
def work(model: TransformerBridge, input_ids: torch.Tensor) -> float:
    """The sink rate at position 0."""
    rates = []
    for window in input_ids.split(1):
        _, cache = model.run_with_cache(window)
        layers = range(model.cfg.n_layers)
        norms = [cache[f"blocks.{layer}.{site}"].norm(dim=-1) for layer in layers for site in SITES]
        maps = [cache[f"blocks.{layer}.attn.hook_pattern"] for layer in layers]
        alpha = torch.stack([weights[:, :, :WINDOW, 0].mean(-1) for weights in maps])
        if len(norms) != 3 * len(maps) or not maps:
            raise RuntimeError("not every site was cached")
        rates.append(float((alpha > EPSILON).float().mean()))
    return sum(rates) / len(rates)


@torch.no_grad()
def forward(model: PreTrainedModel, input_ids: torch.Tensor) -> None:
    """Bare forward passes."""
    for window in input_ids.split(1):
        model(input_ids=window, labels=window, use_cache=False)


def main() -> None:
    """Measures, beside bare forward passes of the same model."""
    folder, sequences, tokens, threads, repetitions = sys.argv[1], *map(int, sys.argv[2:])
    torch.set_num_threads(threads)
    model = TransformerBridge.boot_transformers(folder, device="cpu", dtype=torch.float32)
    bare = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, min(bare.config.vocab_size, 2048), (sequences, tokens), generator=generator)
    rows: dict[str, list[dict[str, float]]] = {"forward": [], "": []}
    for repetition in range(repetitions + 1):
        seen = ids if repetition else ids[:1, :16]
        for name, passes in (("forward", lambda: forward(bare, seen)), ("", lambda: work(model, seen))):  # noqa: B023
            row = timed(passes)
            if repetition:
                rows[name].append(row)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
