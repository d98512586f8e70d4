"""Sink rate and norms by nnsight: `peer_nnsight.py FOLDER SEQUENCES TOKENS THREADS REPETITIONS`, by its interpreter.

The nearest that it can do: one forward pass per window, from which the attention maps and the residual stream, the
attention's and the MLP's output of every layer are saved; norms and alpha_0 are taken afterwards. No gradients. Prints
what `command_workloads.py` prints.
"""

import json
import sys

import torch
from nnsight import LanguageModel
from process import timed
from transformers import AutoModelForCausalLM, PreTrainedModel

EPSILON, WINDOW = 0.3, 64


@torch.no_grad()
def work(model: LanguageModel, input_ids: torch.Tensor) -> float:
    """The sink rate at position 0."""
    rates = []
    for window in input_ids.split(1):
        maps, sites = [], []
        with model.trace(window):
            for layer in model.model.layers:
                maps.append(layer.self_attn.output[1].save())
                sites.append(layer.self_attn.output[0].save())
                sites.append(layer.mlp.output.save())
                sites.append(layer.output.save())
        norms = [x.norm(dim=-1) for x in sites]
        alpha = torch.stack([weights[:, :, :WINDOW, 0].mean(-1) for weights in maps])
        if len(norms) != 3 * len(maps) or not maps:
            raise RuntimeError("not every site was saved")
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
    model = LanguageModel(folder, dtype=torch.float32, attn_implementation="eager", dispatch=True)
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
