"""Made-up reproductions: verdicts of the real rule on synthetic analyses."""

from dataclasses import replace

import numpy as np
import pandas as pd
from synthetic import Shape, synthetic

from sinkscope.comparison.stacked import stacked
from sinkscope.provenance.begin import begin
from sinkscope.reproduction.beside import beside_paper
from sinkscope.reproduction.chain import METHODS
from sinkscope.reproduction.claim import BASELINE, TRIO, VSCALE
from sinkscope.reproduction.judge import claims_table, judged, tests_table, values_table
from sinkscope.reproduction.measures import Seed
from sinkscope.reproduction.pathways import pathways
from sinkscope.tables.builder import Rows
from sinkscope.tables.columns import frame
from sinkscope.tables.run_folder import Run

NOTES = [f"Topic {n}: what is here, and what the paper has. {'It means a thing or two. ' * (n % 3)}" for n in range(11)]


def reproduced(
    seeds: int = 3, trained: bool = True, backward: bool = True, name: str = "tiny", stages: int = 30
) -> Run:
    """A run of kind `reproduction`.

    Args:
        seeds: trainings of each model.
        trained: a trio; else one model.
        backward: whether gradients were measured.
        name: of recipes and scale.
        stages: how many are listed.
    """
    roles = TRIO if trained else (BASELINE,)
    measured = []
    for number in range(seeds):
        shape = Shape(backward=backward, seed=number)
        analyses = {role: synthetic(replace(shape, seed=10 * number + place, vscale=role == VSCALE))
                    for place, role in enumerate(roles)}  # fmt: skip
        measured.append(Seed(analyses, _quantized(roles, number), {role: role for role in roles}))
    results = judged(measured, trained=trained)
    runs = [(role, number) for number in range(seeds) for role in roles]
    evaluations: dict[tuple[str, str], Run] = {
        (BASELINE, method): Run({"headline": {"perplexity": 9.5, "needle_single_2": 0.4}}, {})
        for method in ("none", "w8a8-static")
    }
    steps = [
        (role, thing, 200, None if place else 400) for role in roles for place, thing in enumerate(("sink", "norm"))
    ]
    columns = dict(zip(("model", "phenomenon", "first_step", "lasting_step"), zip(*steps, strict=True), strict=True))
    ends = [
        (role, number, 2.9 + 0.01 * place + 0.001 * number**2)
        for place, role in enumerate(roles if trained else ())
        for number in range(seeds)
    ]
    names = ("model", "seed", "valid_loss")
    losses = frame("trainings", {name: [end[place] for end in ends] for place, name in enumerate(names)})
    commands = [f"sinkscope analyze {name} --out {'runs/' * 20}{number}" for number in range(stages)]
    listed = {"stage": [f"analyze/{name}-{number}" for number in range(stages)], "command": commands}
    tables = {
        "claims": claims_table(results),
        "tests": tests_table(results),
        "seed_values": values_table(results, range(seeds)),
        "beside_paper": beside_paper(measured, losses, evaluations if trained else {}),
        "trainings": losses,
        "pathways": pathways(measured),
        "first_steps": frame("first_steps", {key: list(values) for key, values in columns.items()}),
        "tracked": Rows("tracked").frame(),
        "stages": frame("stages", listed),
        **stacked([measured[number].analyses[role] for role, number in runs], [role for role, _ in runs],
                  [number for _, number in runs]),
    }  # fmt: skip
    info = begin(
        "reproduction", command=f"sinkscope reproduce --scale {name}", scale=name if trained else None,
        reference=BASELINE,
        runs=[{"name": role, "seeds": seeds, "layers": 6, "recipe": name} for role in roles],
        data={"source": name, "sequences": 4, "tokens": 64},
        trained={"parameters": 1_080_000, "steps": 2500} if trained else None, mismatches=[], paired=True,
        layers_differ=False, notes=NOTES, commit="0123abcd", settings={"backward": backward, "seeds": seeds},
        conventions={},
        headline={test: one.verdict for test, one in results.items()},
    )  # fmt: skip
    return Run(info, tables)


def _quantized(roles: tuple[str, ...], seed: int) -> Run:
    draw = np.random.default_rng(seed)
    rows = [
        {"model": role, "method": method, "sequence": place, "loss_sum": draw.uniform(50, 60) + 9 * number,
         "targets": 20}
        for role in roles for number, method in enumerate(METHODS) for place in range(6)
    ]  # fmt: skip
    losses = pd.DataFrame(rows)
    means = losses.groupby(["model", "method"], as_index=False)["loss_sum"].sum()
    means["perplexity"] = np.exp(means["loss_sum"] / 120)
    return Run({}, {"losses": losses, "quantization": means})
