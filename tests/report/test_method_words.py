"""What a report says of the quantization method that a model was measured under."""

from dataclasses import replace
from typing import Any

from inspection import assert_legible
from report.synthetic import Shape, synthetic

from sinkscope.report.analysis.headline_rows import model_line
from sinkscope.report.kinds import kind_of
from sinkscope.report.under import method_facts, under
from sinkscope.tables.run_folder import Run

CALIBRATION: dict[str, Any] = {
    "source": "stdlib", "skipped_documents": 12, "sequences": 32, "tokens": 256, "bos": True, "sha256": "c" * 64,
}  # fmt: skip
STATIC: dict[str, Any] = {
    "weight_bits": 8, "activation_bits": 8, "granularity": "W per channel, A per tensor", "modules": None,
    "calibration": CALIBRATION, "gradients": "straight-through",
}  # fmt: skip


def measured(method: dict[str, Any], name: str = "w8a8-static") -> Run:
    run = synthetic(Shape(4, 4, 2))
    return replace(run, info={**run.info, "model": {**run.info["model"], "quantization": name, "method": method}})


def test_words() -> None:
    assert under({"quantization": None}) == ""
    assert under({"quantization": "bitsandbytes"}) == "bitsandbytes"
    assert under({"quantization": "w4", "method": {"modules": None, "gradients": "exact"}}) == "under w4"
    assert under({"quantization": "w4", "method": {"modules": "mlp.*"}}) == "under w4 (on mlp.* alone)"
    assert under({"quantization": "w8a8-static", "method": STATIC}) == (
        "under w8a8-static (calibrated on 32 x 256 tokens of stdlib behind its first 12 documents; gradients straight "
        "through its rounding)"
    )


def test_facts_have_all_that_run_json_has() -> None:
    assert method_facts({"quantization": "w8a8-static", "method": STATIC}) == {
        "method": "W per channel, A per tensor; gradients straight-through",
        "calibration": "32 x 256 tokens of stdlib behind its first 12 documents, sha256 cccccccccccc",
    }
    assert method_facts({"quantization": "gptq"}) == {}


def test_pages_and_titles_name_the_method() -> None:
    run = measured({**STATIC, "calibration": {**CALIBRATION, "source": "/a/long/place/" * 8 + "text.txt"}})
    assert "under w8a8-static (calibrated on 32 x 256 tokens of ..." in model_line(run)
    assert " under w8a8-static on " in kind_of(run).subtitle(run)
    assert_legible(run)
