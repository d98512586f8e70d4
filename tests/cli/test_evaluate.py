"""`sinkscope evaluate` does what its options say, writes a whole run folder, and refuses bad input in one line."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import copier
import pytest
import tiny

import sinkscope
from sinkscope.cli import main
from sinkscope.errors import SinkscopeError
from sinkscope.tables.run_folder import Run, read_run

QUICK = ["--documents", "3", "--characters", "300", "--window", "64", "--stride", "32"]
ONE = ["--variants", "single_2", "--depths", "1", "--seeds", "1"]

Evaluate = Callable[..., Run]
Refused = Callable[..., str]


@pytest.fixture(scope="session")
def copying(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model that copies, its tokenizer, and a haystack of its vocabulary; not to be written into."""
    folder = tmp_path_factory.mktemp("copier")
    model, tokenizer = copier.copier()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "haystack.txt").write_text(copier.haystack(3000))
    return folder


@pytest.fixture(scope="session")
def quantizable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of widths that are whole blocks of 64, as bitsandbytes' CPU kernels for nf4 need them."""
    model = tiny.build("llama_gqa", hidden_size=64, intermediate_size=128, head_dim=16)
    return tiny.save(model, tmp_path_factory.mktemp("quantizable"))


@pytest.fixture
def evaluate(tmp_path: Path, copying: Path) -> Evaluate:
    """Runs the verb on a model and returns the run."""

    def run(model: Path | str, *arguments: str) -> Run:
        text = str(copying / "haystack.txt")
        out = tmp_path / "run"
        assert main(["evaluate", str(model), "--out", str(out), "--data", text, "--haystack", text, *arguments]) == 0
        return read_run(out)

    return run


@pytest.fixture
def refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Refused:
    """Runs the verb with a bad input, checks the form of its refusal, and returns the line."""
    folder = tmp_path / "runs"
    folder.mkdir()

    def run(model: Path | str, *arguments: str, code: int = 1) -> str:
        assert main(["evaluate", str(model), "--out", str(folder / "run"), *arguments]) == code
        printed = capfd.readouterr()
        assert printed.out == ""
        said = re.sub(r"\Aplan: .*\n", "", printed.err)  # what fails on the way does so after the plan
        assert said.startswith("sinkscope: ")
        assert said.count("\n") == 1
        assert list(folder.iterdir()) == []
        return said

    return run


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_model_that_copies_finds_its_needles(evaluate: Evaluate, copying: Path) -> None:
    run = evaluate(copying, "--no-perplexity", "--lengths", "220,440", "--seeds", "4", "--batch-size", "10")
    assert len(run["needles"]) == 120
    assert run["needles"]["found"].sum() >= 114
    assert run["needle_scores"]["score"].min() >= 0.9
    assert run.info["headline"]["needles_found"] == run["needles"]["found"].sum()


@pytest.mark.slow
def test_writes_a_whole_run(
    evaluate: Evaluate, copying: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = evaluate(copying, *QUICK, "--variants", "single_2", "--lengths", "200", "--depths", "2", "--seeds", "1")
    out = tmp_path / "run"
    assert run.info["kind"] == "evaluation"
    assert list(run.tables) == ["perplexity", "documents", "contexts", "needles", "needle_scores"]
    assert {f"{table}.parquet" for table in run.tables} <= {path.name for path in out.iterdir()}
    assert {path.stem for path in (out / "figures").iterdir()} == {"verdict", "contexts", "needles", "provenance"}
    assert (out / "report.pdf").stat().st_size > 0
    printed = capfd.readouterr()
    assert "Perplexity per token" in printed.out
    assert str(out) in printed.out.splitlines()[-1]
    assert printed.err.startswith("plan: ")
    assert printed.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.usefixtures("undrawn")
def test_settings_reach_the_run(evaluate: Evaluate, copying: Path) -> None:
    run = evaluate(copying, *QUICK, *ONE, "--lengths", "200,220", "--new-tokens", "9", "--seed", "5")
    expected = {"window": 64, "stride": 32, "documents": 3, "characters": 300, "variants": ["single_2"],
                "lengths": [200, 220], "depths": 1, "seeds": 1, "new_tokens": 9, "seed": 5}  # fmt: skip
    assert {key: run.info["settings"][key] for key in expected} == expected
    assert run["contexts"]["context"].max() == 64
    assert run.info["data"]["documents"] == 1
    assert run.info["data"]["bytes"] <= 300
    assert set(run["needles"]["length"]) == {200, 220}
    assert run["needles"]["depth"].tolist() == [0.5, 0.5]


@pytest.mark.usefixtures("undrawn")
def test_what_follows_from_the_model_is_filled_in(evaluate: Evaluate, copying: Path) -> None:
    run = evaluate(copying, *ONE, "--characters", "400")
    assert run.info["settings"]["lengths"] == [256, 512]
    assert (run.info["settings"]["window"], run.info["settings"]["stride"]) == (512, 256)
    assert run.info["model"]["context"] == 512
    assert run.info["headline"]["needles_found"] == 2


@pytest.mark.usefixtures("undrawn")
def test_json_is_all_that_stdout_holds(
    evaluate: Evaluate, copying: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    evaluate(copying, *QUICK, "--variants", "none", "--json")
    printed = capfd.readouterr()
    assert json.loads(printed.out) == json.loads((tmp_path / "run" / "run.json").read_text())
    assert printed.err.startswith("plan: ")
    assert printed.err.count("\n") == 1


@pytest.mark.usefixtures("undrawn")
def test_v_scale_and_yarn(evaluate: Evaluate) -> None:
    run = evaluate("demo-vscale", *QUICK, *ONE, "--yarn", "2", "--lengths", "400", "--new-tokens", "4")
    assert run.info["model"]["vscale"] == "learned"
    assert (run.info["model"]["yarn"], run.info["model"]["context"]) == (2.0, 512)
    assert run["needles"]["prompt"].item() > 256
    plain = evaluate("demo-vscale", *QUICK, "--variants", "none", "--force")
    assert plain.info["headline"]["loss"] != run.info["headline"]["loss"]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("method", ["nf4", "int8"])
def test_quantized(method: str, evaluate: Evaluate, quantizable: Path) -> None:
    options = [*QUICK, "--variants", "none", "--force"]
    plain, quantized = evaluate(quantizable, *options), evaluate(quantizable, *options, "--quantize", method)
    assert quantized.info["model"]["quantization"] == method
    assert quantized.info["headline"]["loss"] != plain.info["headline"]["loss"]
    assert quantized.info["headline"]["loss"] == pytest.approx(plain.info["headline"]["loss"], rel=0.1)


@pytest.mark.usefixtures("undrawn")
def test_default_folder(copying: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", str(copying), *QUICK, "--variants", "none"]) == 0
    assert (tmp_path / "runs" / f"{copying.name}-evaluation" / "run.json").is_file()


def test_library(copying: Path) -> None:
    model, tokenizer = copier.copier()
    settings = sinkscope.EvaluationSettings(variants=("single_2",), lengths=(200,), depths=1, seeds=2, documents=1,
                                            characters=200)  # fmt: skip
    text = str(copying / "haystack.txt")
    found = sinkscope.evaluate(model, tokenizer, data=text, haystack=text, settings=settings)
    assert found.headline["needle_single_2"] == 1.0
    assert found.needles["found"].all()
    assert list(found.figures()) == ["verdict", "contexts", "needles", "provenance"]
    with pytest.raises(SinkscopeError, match="needs its tokenizer"):
        sinkscope.evaluate(model)
    with pytest.raises(SinkscopeError, match="no loading options: dtype"):
        sinkscope.evaluate(model, tokenizer, dtype="float32")


@pytest.mark.parametrize(("arguments", "said"), [
    (["--variants", "single_2,multivalue"], "--variants knows single_2, single_3, multikey_1 and none, not multivalue"),
    (["--variants", "none", "--no-perplexity"], "there is nothing to evaluate"),
    (["--lengths", "many"], "--lengths takes whole numbers"),
    (["--lengths", "-5"], "--lengths must be positive"),
    (["--lengths", ","], "--lengths is empty"),
    (["--yarn", "1"], "--yarn is a factor above 1"),
    (["--yarn", "nan"], "--yarn is a factor above 1"),
    (["--stride", "65", "--window", "64", "--variants", "none"], "--stride must lie between 1 and the window of 64"),
    (["--window", "513", "--variants", "none"], "context of 512: use a smaller --window, or --yarn"),
    (["--lengths", "1024"], "context of 512: use shorter --lengths, or extend the model with --yarn 2"),
    (["--lengths", "60"], "--lengths 60 is too short for single_2"),
    (["--documents", "0"], "--documents"),
    (["--depths", "0"], "--depths"),
    (["--seeds", "0"], "--seeds"),
    (["--new-tokens", "0"], "--new-tokens"),
    (["--limit", "0"], "--limit"),
    (["--batch-size", "0", "--variants", "none"], "--batch-size"),
    (["--batch-size", "0", "--no-perplexity"], "--batch-size"),
    (["--tasks-path", "somewhere"], "--tasks-path is for --tasks"),
    (["--bos", "perhaps", "--variants", "none"], "--bos is auto, always or never"),
    (["--bos", "perhaps", "--no-perplexity"], "--bos is auto, always or never"),
])  # fmt: skip
def test_impossible_values(arguments: list[str], said: str, refused: Refused, copying: Path) -> None:
    assert said in refused(copying, "--haystack", str(copying / "haystack.txt"), *arguments, code=2)


def test_texts_that_do_not_suffice(refused: Refused, copying: Path, tmp_path: Path) -> None:
    text = tmp_path / "short.txt"
    text.write_text("too short a text")
    assert "do not fill a context of 256 tokens: name a longer --haystack" in refused(copying, "--haystack", str(text))
    assert "there is no file" in refused(copying, "--haystack", "none.txt")
    text.write_text(" ")
    assert "is empty" in refused(copying, "--data", str(text), "--variants", "none")


def test_what_exists_is_not_replaced(copying: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kept").touch()
    assert main(["evaluate", str(copying), "--out", str(tmp_path)]) == 2
    assert "--force" in capfd.readouterr().err


def test_missing_extra(refused: Refused, copying: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str, *_: Any) -> Any:
        return None if name == "lm_eval" else pytest.fail(name)

    monkeypatch.setattr("sinkscope.evaluation.tasks.importlib.util.find_spec", absent)
    said = refused(copying, "--tasks", "paper", "--variants", "none", "--no-perplexity")
    assert "pip install 'sinkscope[lm-eval]'" in said


def test_wrong_tokenizer(refused: Refused, copying: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tiny.build("llama_gqa", vocab_size=50, max_position_embeddings=512).save_pretrained(tmp_path / "model")
    copier.copier()[1].save_pretrained(tmp_path / "model")
    capfd.readouterr()  # transformers shows progress while saving
    text = str(copying / "haystack.txt")
    for part in (["--no-perplexity"], ["--variants", "none", "--data", text]):
        said = refused(tmp_path / "model", "--haystack", text, *part)
        assert "outside the model's 50 embeddings" in said
