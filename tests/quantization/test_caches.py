"""Methods that round the cache, joined to methods of linear maps: both at once, on the same windows."""

from pathlib import Path
from typing import Any

import pytest
import tiny

from sinkscope.errors import RequestError
from sinkscope.inputs import TextSource
from sinkscope.methods.cache.probe import CacheProbe
from sinkscope.methods.calibration import calibrate
from sinkscope.methods.grammar import CacheRounding
from sinkscope.methods.linear_modules import linears
from sinkscope.methods.probes import parse_probe, probed
from sinkscope.names import NONE
from sinkscope.passes.batches import batches_of
from sinkscope.quantization.ranking import losses
from sinkscope.quantization.run import quantize
from sinkscope.text.packing import pack
from sinkscope.text.sources import open_text

CACHE = "cache-k2v2-g4-sinks1"
SMALL: dict[str, Any] = {"sequences": 3, "tokens": 24, "device": "cpu", "rank_sequences": 0}


def test_a_format_and_a_cache_are_both_put_on(tiny_folders: dict[str, Path]) -> None:
    result = quantize(str(tiny_folders["llama_gqa"]), [f"{CACHE}+a4-static", f"w4+{CACHE}", CACHE], **SMALL)
    table = result.quantization.set_index("method")
    assert list(table.index) == [NONE, f"a4-static+{CACHE}", f"w4+{CACHE}", CACHE]
    assert result.info["settings"]["calibrated_methods"] == [f"a4-static+{CACHE}"]
    packed = pack(open_text(TextSource()), tiny.tokenizer(), tokens=24, bos=True, sequences=6)
    evaluated = batches_of(packed.input_ids[:3], None, 1)
    model = tiny.build("llama_gqa")
    largest = calibrate(model, linears(model), batches_of(packed.input_ids[3:], None, 1))
    for name in ("a4-static", "w4"):
        probe = parse_probe(name)
        assert probe is not None
        with CacheProbe(CacheRounding(2, 2, 4, 1)).entered(model), probed(model, probe, largest):
            by_hand = losses(model, evaluated)["loss_sum"].sum() / (3 * 23)
        assert table.loc[f"{name}+{CACHE}", "loss"] == pytest.approx(by_hand)
        assert table.loc[f"{name}+{CACHE}", "loss"] != pytest.approx(table.loc[CACHE, "loss"], abs=1e-6)
    assert table.loc[f"w4+{CACHE}", "weight_bits"] == 4
    assert str(table.loc[f"w4+{CACHE}", "granularity"]).startswith("W per channel; K 2 bits per channel")
    assert result.paired["other_method"].isin(table.index).all()


def test_a_librarys_method_is_loaded_once_for_itself_and_its_caches(tiny_folders: dict[str, Path]) -> None:
    pytest.importorskip("torchao")
    folder, name = str(tiny_folders["llama_gqa"]), "torchao-int8-weights"
    result = quantize(folder, [f"{name}+{CACHE}"], **SMALL)
    table = result.quantization.set_index("method")
    assert list(table.index) == [NONE, f"{name}+{CACHE}"]
    assert table.loc[f"{name}+{CACHE}", "weight_bits"] == 8
    both = quantize(folder, [CACHE, name, f"{name}+{CACHE}"], **SMALL).quantization.set_index("method")
    assert both.loc[f"{name}+{CACHE}", "loss"] == pytest.approx(table.loc[f"{name}+{CACHE}", "loss"])
    assert len({round(float(loss), 6) for loss in both["loss"]}) == 4


def test_modules_are_selected_under_a_cache_too(tiny_folders: dict[str, Path]) -> None:
    folder = str(tiny_folders["llama_gqa"])
    some, every = (quantize(folder, [f"w2+{CACHE}"], modules=modules, **SMALL) for modules in ("mlp.*", None))
    assert some.quantization["loss"][1] != pytest.approx(every.quantization["loss"][1], abs=1e-6)


def test_what_cannot_be_measured_is_refused_before_a_model_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinkscope.quantization.one_model.load_named", lambda *_, **__: pytest.fail("a model loads"))
    with pytest.raises(RequestError, match="cache-k4v4 counts positions from a window's first token: leave out `iso"):
        quantize("demo", ["cache-k4v4"], isolate_documents=True)
    with pytest.raises(RequestError, match=r"fp8-cache rounds the cache of generation alone, .* evaluate the model"):
        quantize("demo", ["w8+fp8-cache"])
