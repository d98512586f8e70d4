"""`sinkscope quantize` writes a whole run folder, and refuses in one line what it cannot do."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from sinkscope.cli import main
from sinkscope.methods.choose import LIBRARY
from sinkscope.methods.library import virtual_environment
from sinkscope.methods.library.method import Method
from sinkscope.quantization.changes import change
from sinkscope.tables.columns import BY_KIND
from sinkscope.tables.run_folder import read_run
from sinkscope.vscale import attach_, save

SMALL = ["--sequences", "3", "--tokens", "32", "--device", "cpu"]
PROBES = "w8a8-dynamic,w8a8-static,w8a8-static-down"


@pytest.fixture
def refused(tiny_folders: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the verb with a bad input, checks the form of its refusal, and returns the line."""

    def run(*arguments: str, code: int = 2, model: Path | None = None) -> str:
        out = tmp_path / "runs" / "run"
        out.parent.mkdir(exist_ok=True)
        folder = model or tiny_folders["llama_gqa"]
        assert main(["quantize", str(folder), "--out", str(out), *SMALL, *arguments]) == code
        printed = capfd.readouterr()
        assert printed.out == ""
        said = re.sub(r"\Aplan: .*\n", "", printed.err)  # what fails on the way does so after the plan
        assert said.startswith("sinkscope: ")
        assert said.count("\n") == 1
        assert list(out.parent.iterdir()) == []
        return said

    return run


@pytest.mark.slow
def test_writes_a_whole_run(tiny_folders: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("bitsandbytes")
    valved = tmp_path / "valved"
    save(attach_(tiny.build("llama_gqa")), valved)
    tiny.tokenizer().save_pretrained(valved)
    out = tmp_path / "run"
    models = [str(tiny_folders["llama_gqa"]), str(valved)]
    capfd.readouterr()
    assert main(["quantize", *models, "--out", str(out), "--methods", f"{PROBES},nf4,int8", *SMALL]) == 0
    printed = capfd.readouterr()
    assert printed.err.startswith("plan: ")
    assert printed.err.count("\n") == 1
    run = read_run(out)
    assert set(run.tables) == {table.name for table in BY_KIND["quantization"]} - {"mitigation_sites"}  # none here
    table = run["quantization"]
    assert table["model"].tolist() == [models[0]] * 6 + [models[1]] * 6
    assert table["method"].tolist() == ["none", *PROBES.split(","), "nf4", "int8"] * 2
    assert np.allclose(table["perplexity"], np.exp(table["loss"]))
    assert table["windows"].nunique() == 1
    assert run.info["data"]["comparable"]
    assert [model["vscale"] for model in run.info["models"]] == [None, "learned"]
    assert len(run["losses"]) == 2 * 6 * 3
    assert set(run["noise"]["method"]) == set(PROBES.split(","))
    assert set(run["noise"][run["noise"]["method"] == "w8a8-static-down"]["site"]) == {"mlp.down_proj"}
    losses = run["losses"].set_index(["model", "method"])
    row = table.set_index(["model", "method"]).loc[(models[1], "nf4")]
    again = change(losses.loc[(models[1], "nf4")], losses.loc[(models[1], "none")], seed=0)
    assert row["delta_low"] == pytest.approx(again["delta_low"])
    assert row["delta"] == pytest.approx(again["delta"])
    assert (out / "report.pdf").stat().st_size > 0


@pytest.mark.usefixtures("undrawn")
def test_json_and_probes_of_other_widths(
    tiny_folders: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, out = tiny_folders["llama_gqa"], tmp_path / "run"
    options = ["--methods", "w8,w3,a4-dynamic", "--modules", "mlp.*", "--rank-sequences", "0", "--json"]
    assert main(["quantize", str(folder), "--out", str(out), *SMALL, *options]) == 0
    info = json.loads(capfd.readouterr().out)
    assert list(info["headline"][str(folder)]) == ["none", "w8", "w3", "a4-dynamic"]
    assert "ranking" not in info["tables"]
    found = read_run(out)["quantization"].set_index("method")["delta"].abs()
    assert found["w8"] < found["w3"]


@pytest.mark.usefixtures("undrawn")
def test_calibration_text_sets_the_static_scales(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("a" * 400)
    folder, deltas = str(tiny_folders["llama_gqa"]), []
    for number, options in enumerate(([], ["--calibration-data", str(text), "--calibration-sequences", "1"])):
        out = tmp_path / str(number)
        command = ["quantize", folder, "--out", str(out), "--methods", "a3-static", "--rank-sequences", "0"]
        assert main([*command, *SMALL, *options]) == 0
        deltas.append(read_run(out)["quantization"]["loss"].iloc[1])
    assert deltas[0] != deltas[1]


def test_unknown_method(refused: Callable[..., str]) -> None:
    message = refused("--methods", "none,w8a8")
    assert "there is no method w8a8" in message
    assert all(name in message for name in ("w8a8-static-down", *LIBRARY))


def test_no_method_at_all(refused: Callable[..., str]) -> None:
    assert "--methods names none" in refused("--methods", "")


def test_pattern_that_matches_nothing(refused: Callable[..., str]) -> None:
    message = refused("--methods", "w8", "--modules", "*.experts.*")
    assert "matches no linear module" in message
    assert "mlp.down_proj" in message


def test_contradicting_options(refused: Callable[..., str]) -> None:
    assert "leave out one" in refused("--methods", "w8,nf4", "--modules", "mlp.*")
    assert "none of the probes" in refused("--methods", "w8", "--rank-by", "w4")
    assert "there is no mitigation keep-x for --mitigate" in refused("--methods", "w8", "--mitigate", "none,keep-x")
    assert "--rank-sequences must be at least 1" in refused(
        "--methods", "w8", "--mitigate", "keep", "--rank-sequences", "0"
    )


def test_calibration_text_too_short(refused: Callable[..., str], tmp_path: Path) -> None:
    text = tmp_path / "short.txt"
    text.write_text("too short")
    message = refused("--methods", "w8a8-static", "--calibration-data", str(text), code=1)
    assert "--calibration-data" in message
    assert "fewer --calibration-sequences" in message


def test_already_quantized_model(refused: Callable[..., str], broken: Callable[..., Path]) -> None:
    pytest.importorskip("bitsandbytes")
    folder = broken()
    config = folder / "config.json"
    described = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    config.write_text(json.dumps({**json.loads(config.read_text()), "quantization_config": described}))
    assert "quantized already (bitsandbytes)" in refused("--methods", "w8", code=1, model=folder)


def test_a_method_that_needs_a_gpu(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    method = Method("nf4", 4, None, "", lambda _: tiny.build("llama_gqa"), "torch", needs_gpu="its kernels are CUDA")
    monkeypatch.setitem(LIBRARY, "nf4", method)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "nf4 needs a GPU, and there is none here: its kernels are CUDA" in refused("--methods", "nf4", code=1)


def test_a_missing_extra(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinkscope.methods.library.method.find_spec", lambda _: None)
    assert "pip install 'sinkscope[torchao]'" in refused("--methods", "torchao-int8", code=1)
    assert "pip install 'sinkscope[llmcompressor]'" in refused("--methods", "gptq", code=1)


def test_no_permission_to_install(refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("compressed_tensors")
    place = tmp_path / "environment"
    message = refused("--methods", "gptq", "--environment", str(place), code=1)
    assert "add --allow-install" in message
    assert (
        f"python -m venv {place} && {virtual_environment.python_of(place)} -m pip install 'llmcompressor==" in message
    )
    monkeypatch.setenv(virtual_environment.VARIABLE, str(place))
    assert str(place) in refused("--methods", "awq", code=1)


def test_an_install_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "environment"
    monkeypatch.setattr(virtual_environment, "REQUIREMENT", "llmcompressor==0.0.no-such-version")
    monkeypatch.setattr(virtual_environment.sys, "executable", "/bin/false")
    with pytest.raises(
        virtual_environment.SinkscopeError, match=r"could not be installed.*with network access, run: python -m venv"
    ):
        virtual_environment.prepare(place)
    assert not place.exists()
