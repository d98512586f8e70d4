"""What V-scale adds to a training step: the same model with and without it, steps interleaved in one process.

    python tests/benchmarks/bench_vscale.py [--steps 60] [--attention eager] [--compile] [--threads 1]
        [--precision float32]

Prints the medians of both, in processor time on a CPU (a machine's other work touches it least) and in seconds of the
clock, and the median of the paired ratios of each. The process keeps freed memory, as those of `finetune` and
`pretrain` do. No time is asserted: it is a number to read.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope import heap
from sinkscope.loading.load import load_model
from sinkscope.passes.losses import next_token_loss
from sinkscope.pretraining.shipped_recipes import find_recipe
from sinkscope.training.new_model import build_model, build_optimizer
from sinkscope.training.recipe import Recipe, load_recipe
from sinkscope.vscale import attach_

WARM_UP = 5


Seconds = tuple[float, float]  # of the clock, of the processor


def stepper(
    model: PreTrainedModel, recipe: Recipe, ids: Tensor, *, compiled: bool, narrow: bool
) -> Callable[[], Seconds]:
    """A function that makes one training step and returns its seconds."""
    optimizer = build_optimizer(model.train(), recipe.optimizer)

    def loss_of(ids: Tensor) -> Tensor:
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=narrow):
            return next_token_loss(model(input_ids=ids, use_cache=False).logits, ids)

    loss = torch.compile(loss_of, dynamic=False) if compiled else loss_of

    def step() -> Seconds:
        started, processor = time.perf_counter(), time.process_time()
        loss(ids).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.optimizer.clip)
        optimizer.step()
        optimizer.zero_grad()
        if ids.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - started, time.process_time() - processor

    return step


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--attention", choices=["eager", "sdpa"], default="eager")
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    heap.keep()
    torch.set_num_threads(options.threads)
    recipe = load_recipe(find_recipe("demo"), {"attention": options.attention})
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = load_model("demo").tokenizer
    ids = torch.randint(len(tokenizer), (recipe.optimizer.batch_sequences, recipe.data.tokens), device=device)
    plain, valved = build_model(recipe, tokenizer).to(device), build_model(recipe, tokenizer).to(device)
    attach_(valved)
    narrow = options.precision == "bfloat16"
    steps = [stepper(model, recipe, ids, compiled=options.compile, narrow=narrow) for model in (plain, valved)]
    pairs = [tuple(step() for step in steps) for _ in range(WARM_UP + options.steps)][WARM_UP:]
    how = "compiled" if options.compile else "not compiled"
    print(f"{device}, {options.precision}, {options.attention}, {how}, {torch.get_num_threads()} threads:")
    for clock, name in enumerate(("of the clock", "of the processor")):
        without, with_vscale = (statistics.median(pair[model][clock] for pair in pairs) * 1000 for model in (0, 1))
        ratio = statistics.median(pair[1][clock] / pair[0][clock] for pair in pairs)
        print(f"  ms {name}: {without:.1f} without V-scale, {with_vscale:.1f} with it, {100 * (ratio - 1):+.1f} %")


if __name__ == "__main__":
    main()
