"""What `sinkscope.Monitor` adds to a training: steps and measurements interleaved in one process.

    python tests/benchmarks/bench_monitor.py [--recipe demo] [--rounds 12] [--compile]

Prints the medians of a training step, of a measurement on the default probe and of a step between measurements, the
share of training time that the default N costs, and the smallest N that stays within 2 %. No time is asserted.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from sinkscope import Monitor
from sinkscope.loading.load import load_model
from sinkscope.monitoring.monitor import EVERY
from sinkscope.passes.losses import next_token_loss
from sinkscope.pretraining.shipped_recipes import find_recipe
from sinkscope.training.new_model import build_model, build_optimizer
from sinkscope.training.recipe import load_recipe

WARM_UP = 2
STEPS_PER_ROUND = 4
OFF_STEPS = 10_000
ALLOWED = 0.02


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall-clock time of some work, waiting for the device."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    recipe = load_recipe(find_recipe(options.recipe))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = load_model("demo").tokenizer
    model = build_model(recipe, tokenizer).to(device).train()
    optimizer = build_optimizer(model, recipe.optimizer)
    ids = torch.randint(len(tokenizer), (recipe.optimizer.batch_sequences, recipe.data.tokens), device=device)

    def loss_of(ids: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return next_token_loss(model(input_ids=ids, use_cache=False).logits, ids)

    loss = torch.compile(loss_of, dynamic=False) if options.compile else loss_of

    def step() -> None:
        loss(ids).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.optimizer.clip)
        optimizer.step()
        optimizer.zero_grad()

    monitor = Monitor(model, tokenizer)
    steps: list[float] = []
    probes: list[float] = []
    for number in range(WARM_UP + options.rounds):
        steps += [seconds(step, device) for _ in range(STEPS_PER_ROUND)]
        probes.append(seconds(lambda number=number: monitor.measure(number), device))
        if number == WARM_UP - 1:
            steps, probes = [], []
    between = seconds(lambda: [monitor.step(1) for _ in range(OFF_STEPS)], device) / OFF_STEPS
    one, probe = statistics.median(steps), statistics.median(probes)
    print(
        f"{device}, recipe {options.recipe}, {recipe.optimizer.batch_sequences} x {recipe.data.tokens} tokens a step, "
        f"{'compiled' if options.compile else 'not compiled'}, {torch.get_num_threads()} threads\n"
        f"training step {1000 * one:.1f} ms, measurement {1000 * probe:.1f} ms ({probe / one:.2f} steps), "
        f"a step between measurements {1e6 * between:.2f} us\n"
        f"cost at N = {EVERY}: {100 * (probe / EVERY + between) / one:.2f} % of training time; "
        f"within {100 * ALLOWED:.0f} % from N = {math.ceil(probe / one / ALLOWED)}"
    )


if __name__ == "__main__":
    main()
