"""The three snippets of docs/tracking.md run as they stand, but for a smaller N."""

import re
from pathlib import Path
from typing import Any

import pytest
import tiny
from test_monitor_accelerate import Kept
from torch.utils.data import DataLoader
from transformers import TrainingArguments
from watched import STEPS, adamw, model
from watched import batches as token_batches

from sinkscope.monitoring.monitor import EVERY
from sinkscope.quantities.rows import monitored
from sinkscope.tracking.appearances import phenomena

PAGE = (Path(__file__).parents[2] / "docs" / "tracking.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("number", "steps"), [(0, [0, 2, 4, 6, STEPS]), (1, [2, 4, 6]), (2, [0, 2, 4, 6, STEPS])])
def test_snippets_run(number: int, steps: list[int], tmp_path: Path) -> None:
    code = SNIPPETS[number].replace("every=500", "every=2")
    assert code != SNIPPETS[number]
    trained = model()
    rows = [{"input_ids": row, "labels": row} for batch in token_batches() for row in batch]
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=STEPS, report_to="none", use_cpu=True, disable_tqdm=True,
        save_strategy="no", dataloader_pin_memory=False,
    )  # fmt: skip
    names: dict[str, Any] = {
        "model": trained,
        "tokenizer": tiny.tokenizer(),
        "optimizer": adamw(trained),
        "loader": DataLoader(rows, batch_size=2),
        "args": arguments,
        "dataset": rows,
        "tracker": Kept(),
    }
    exec(code, names)  # noqa: S102  (the page's own code)
    assert [entry["step"] for entry in names["monitor"].history] == steps
    assert set(names["monitor"].frame()["metric"]) >= {
        row.name for row in monitored() if row.headline and not row.backward
    }
    if number == 0:
        assert any("sinkscope/loss" in entry for entry in names["trainer"].state.log_history)
    if number == 1:
        assert [step for step, _ in names["tracker"].rows] == steps


def test_the_page_states_what_the_code_does() -> None:
    assert len(SNIPPETS) == 3
    assert f"default N = {EVERY}" in PAGE
    for phenomenon in phenomena(0.3):
        sign = ">" if phenomenon.exceeds else ">="
        assert f"| {phenomenon.name} | `{phenomenon.metric}` {sign} {phenomenon.threshold:g}" in PAGE
