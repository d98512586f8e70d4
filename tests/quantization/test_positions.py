"""Loss by position against loops over single tokens, and its rule of ranges."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from torch.nn import functional as F

import sinkscope
from sinkscope.inputs import TextSource
from sinkscope.intervals.loss_bootstrap import ratio_interval
from sinkscope.methods.cache.probe import CacheProbe
from sinkscope.methods.grammar import CacheRounding
from sinkscope.names import NONE
from sinkscope.passes.batches import batches_of
from sinkscope.quantization.changes import compare_positions
from sinkscope.quantization.positions import by_position, edges_of, position_losses
from sinkscope.quantization.ranking import losses
from sinkscope.text.packing import pack
from sinkscope.text.sources import open_text


@pytest.mark.parametrize(
    ("tokens", "edges"),
    [(2, [1, 2]), (3, [1, 3]), (16, [1, 2, 4, 8, 16]), (24, [1, 3, 6, 12, 24]),
     (1000, [1, 3, 7, 15, 31, 62, 125, 250, 500, 1000])],
)  # fmt: skip
def test_each_range_is_the_second_half_of_what_is_before_its_end(tokens: int, edges: list[int]) -> None:
    assert edges_of(tokens) == edges
    assert all(start == max(stop // 2, 1) for start, stop in pairwise(edges))


@pytest.mark.parametrize("isolated", [False, True])
def test_sums_by_range_agree_with_a_loop_over_tokens(isolated: bool) -> None:
    model = tiny.build("llama_gqa", initializer_range=0.3)
    ids = (7 * torch.arange(2, 77).view(3, 25)) % 250
    documents = torch.tensor([[0] * 25, [0] * 4 + [1] * 21, [0] * 10 + [1] + [2] * 14]) if isolated else None
    found = losses(model, batches_of(ids, documents, 2))
    edges = edges_of(25)
    sums = {pair: [0.0] * 3 for pair in pairwise(edges)}
    counts = {pair: [0] * 3 for pair in pairwise(edges)}
    for row in range(3):
        starts = [0] if documents is None else [
            t for t in range(25) if t == 0 or documents[row, t] != documents[row, t - 1]
        ]  # fmt: skip
        for start, stop in zip(starts, [*starts[1:], 25], strict=True):  # a document by itself
            with torch.no_grad():
                logits = model(input_ids=ids[row : row + 1, start:stop], use_cache=False).logits[0]
            for t in range(1, stop - start):
                loss = F.cross_entropy(logits[t - 1], ids[row, start + t]).item()
                pair = next((a, b) for a, b in sums if a <= t < b)
                sums[pair][row] += loss
                counts[pair][row] += 1
    for (start, stop), of_range in sums.items():
        assert found[f"targets_{start}_{stop}"].tolist() == counts[start, stop]
        assert found[f"loss_sum_{start}_{stop}"].tolist() == pytest.approx(of_range, abs=1e-4)
    names = [f"{start}_{stop}" for start, stop in sums]
    assert found["targets"].tolist() == found[[f"targets_{name}" for name in names]].sum(axis=1).tolist()
    whole = found[[f"loss_sum_{name}" for name in names]].sum(axis=1)
    assert found["loss_sum"].tolist() == pytest.approx(whole.tolist())


def test_changes_by_range_are_paired_over_sequences() -> None:
    random = np.random.default_rng(0)
    batch = batches_of(torch.zeros(5, 8, dtype=torch.int64), None, 5)[0]
    exact, other = (torch.from_numpy(random.normal(size=(5, 8))) for _ in range(2))
    parts = [
        position_losses("m", method, NONE, by_position(of, batch)) for method, of in ((NONE, exact), ("w4", other))
    ]
    table = compare_positions(pd.concat(parts, ignore_index=True), seed=3)
    assert list(zip(table["start"], table["stop"], strict=True)) == [(1, 2), (2, 4), (4, 8)] * 2
    for row in table[table["method"] == "w4"].itertuples():
        start, stop = int(str(row.start)), int(str(row.stop))
        differences = np.array([sum(float(other[s, t - 1] - exact[s, t - 1]) for t in range(start, stop))
                                for s in range(5)])  # fmt: skip
        counts = np.full(5, float(stop - start))
        assert row.targets == counts.sum()
        assert row.delta == pytest.approx(differences.sum() / counts.sum())
        assert (row.delta_low, row.delta_high) == pytest.approx(ratio_interval(differences, counts, seed=3))
        assert row.loss == pytest.approx(float(other[:, start - 1 : stop - 1].mean()))
    none = table[table["method"] == NONE]
    assert (none[["delta", "delta_low", "delta_high"]] == 0).all(axis=None)


def test_ranges_that_some_sequences_lack_are_taken_over_those_that_have_them() -> None:
    ids = torch.zeros(4, 8, dtype=torch.int64)
    documents = torch.tensor([[0] * 8] * 3 + [[0, 0, 1, 1, 2, 2, 3, 3]])
    batch = batches_of(ids, documents, 4)[0]
    parts = [position_losses("m", name, NONE, by_position(torch.full((4, 8), value), batch))
             for name, value in ((NONE, 1.0), ("w4", 1.5))]  # fmt: skip
    table = compare_positions(pd.concat(parts, ignore_index=True), seed=0)
    assert table[table["method"] == "w4"]["targets"].tolist() == [3 + 4, 6, 12]
    assert table[table["method"] == "w4"]["delta"].tolist() == pytest.approx([0.5] * 3)


def test_a_run_has_the_losses_of_every_method_by_position(tiny_folders: dict[str, Path]) -> None:
    methods = ["cache-k2v2-g4", "w4"]
    result = sinkscope.quantize(
        str(tiny_folders["llama_gqa"]), methods, sequences=3, tokens=24, device="cpu", rank_sequences=0
    )
    table = result.quantization_positions
    assert list(dict.fromkeys(table["method"])) == [NONE, "w4", "cache-k2v2-g4"]
    whole = result.quantization.set_index("method")
    for method, rows in table.groupby("method"):
        assert float((rows["delta"] * rows["targets"]).sum() / rows["targets"].sum()) == pytest.approx(
            whole.loc[str(method), "delta"], abs=1e-6
        )
    packed = pack(open_text(TextSource()), tiny.tokenizer(), tokens=24, bos=True, sequences=3)
    with CacheProbe(CacheRounding(2, 2, 4)).entered(model := tiny.build("llama_gqa")):
        by_hand = losses(model, batches_of(packed.input_ids, None, 1))
    found = result.position_losses
    found = found[(found["method"] == "cache-k2v2-g4") & (found["start"] == 12)]
    assert found["loss_sum"].tolist() == pytest.approx(by_hand["loss_sum_12_24"].tolist())
