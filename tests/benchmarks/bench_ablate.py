"""What an intervention adds to a forward pass: the same model with and without it, passes interleaved in one process.

    python tests/benchmarks/bench_ablate.py [--passes 20] [--tokens 1024] [--layers 6] [--hidden 768]

A random Llama. Prints the median of the paired ratios by intervention. No time is asserted: it is a number to read.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from sinkscope.interventions.attention import cached, heads_ablated, sinks_hidden, values_zeroed
from sinkscope.interventions.hidden import LargeEntries, channels_zeroed, entries_replaced
from sinkscope.interventions.weights import WeightAt, weights_zeroed
from sinkscope.models.taps.edits import SlidingCache

WARM_UP = 2


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("passes", 20), ("tokens", 1024), ("layers", 6), ("hidden", 768)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    config = LlamaConfig(
        vocab_size=8192, hidden_size=options.hidden, intermediate_size=3 * options.hidden,
        num_hidden_layers=options.layers, num_attention_heads=options.hidden // 64,
        num_key_value_heads=options.hidden // 64, max_position_embeddings=options.tokens,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    ids = torch.randint(8192, (1, options.tokens))
    every = range(options.layers)
    large = dict.fromkeys(every, LargeEntries((3, 17), 5.0))
    quarter = options.tokens // 4
    blocks: dict[str, Callable[[], AbstractContextManager[None]]] = {
        "massive entries, every layer": lambda: entries_replaced(model, large),
        "channels, every layer": lambda: channels_zeroed(model, dict.fromkeys(every, (3, 17))),
        "single weights": lambda: weights_zeroed(model, [WeightAt(1, 2, 3)]),
        "attention to the sink": lambda: sinks_hidden(model, (0,)),
        "attention, not renormalized": lambda: sinks_hidden(model, (0,), renormalized=False),
        "value of the sink": lambda: values_zeroed(model, (0,)),
        "heads": lambda: heads_ablated(model, dict.fromkeys(every, (0, 1))),
        "cache, original positions": lambda: cached(model, SlidingCache(4, quarter - 4)),
        "cache, positions inside it": lambda: cached(model, SlidingCache(4, quarter - 4, "cache")),
    }

    @torch.no_grad()
    def seconds() -> float:
        started = time.process_time()  # of this process alone, whatever else the machine does
        model(input_ids=ids, use_cache=False)
        return time.process_time() - started

    print(f"{options.tokens} tokens, {options.layers} layers of {options.hidden}, {torch.get_num_threads()} threads")
    for name, enter in blocks.items():
        ratios = []
        for _ in range(WARM_UP + options.passes):
            plain = seconds()
            with enter():
                ratios.append(seconds() / plain)
        print(f"{name:30s} {100 * (statistics.median(ratios[WARM_UP:]) - 1):+6.1f} %", flush=True)


if __name__ == "__main__":
    main()
