"""`ablate` from a folder to a run: a planted massive activation, resumed work, and requests that go wrong."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny as tiny_models
import torch
from families import tiny
from planted import CHANNEL, planted, saved

import sinkscope
from sinkscope.ablation.scores import Untouched
from sinkscope.analysis.run import Analysis
from sinkscope.cli.app import main
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.runs import read_run
from sinkscope.tables.columns import BY_KIND
from sinkscope.tables.run_folder import write_run

SMALL: dict[str, Any] = {"sequences": 4, "tokens": 24, "device": "cpu"}
WHAT = ("massive-zero", "massive-mean", "channel-zero", "super-weights", "sink-attention", "sink-value", "sink-heads",
        "first-token", "cache:1+7")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("planted") / "model")


@pytest.fixture(scope="module")
def analysis(folder: Path) -> Analysis:
    settings = sinkscope.Settings(sink_window=8, early=7, positions=16)
    return sinkscope.analyze(folder, settings=settings, **SMALL)


@pytest.fixture(scope="module")
def ablation(folder: Path, analysis: Analysis) -> sinkscope.Ablation:
    return sinkscope.ablate(folder, run=analysis, what=WHAT, draws=2, measured=1, **SMALL)


def test_the_tables_are_those_that_are_declared(ablation: sinkscope.Ablation) -> None:
    assert set(ablation.tables) == {table.name for table in BY_KIND["ablation"]} - {"ablation_needles"}
    table = ablation.ablations.set_index(["what", "where"])
    assert table.loc[("none", ""), "verdict"] == "reference"
    assert {what for what, _ in table.index} >= {
        "massive-zero",
        "massive-mean",
        "channel-zero",
        "first-token",
        "cache:1+7",
    }
    together = table[~table.index.get_level_values("where").str.contains("alone")]
    assert (together["draws"].to_numpy() == [0, *[2] * (len(together) - 1)]).all()


def test_what_is_taken_away_is_the_planted_entry(ablation: sinkscope.Ablation, analysis: Analysis) -> None:
    assert set(analysis.massive.query("is_massive and site == 'h_out'")["channel"]) == {CHANNEL}
    table = ablation.ablations.set_index(["what", "where"])
    zero = table.loc[("massive-zero", "first: layer 0")]
    assert zero["size"] == 1  # an entry per sequence
    assert zero["unit"] == "entries per sequence"
    largest = ablation.ablation_quantities.query("quantity == 'abs_max'").set_index(["what", "where"])
    assert largest.loc[("none", ""), "value"] > 9e4
    assert largest.loc[("massive-zero", "first: layer 0"), "value"] < 1000
    assert largest.loc[("massive-zero", "first: layer 0"), "control"] > 9e4
    assert largest.loc[("massive-mean", "first: layer 0"), "value"] == pytest.approx(1e5, rel=0.01)
    mean = table.loc[("massive-mean", "first: layer 0")]
    assert abs(mean["change"]) < abs(zero["change"])


def test_numbers_follow_from_the_losses_of_sequences(ablation: sinkscope.Ablation) -> None:
    for row in ablation.ablations.query("what != 'none'").itertuples():
        losses = ablation.ablation_losses.query("what == @row.what and where == @row.where")
        own, controls = losses[losses["draw"] < 0], losses[losses["draw"] >= 0]
        assert row.loss == pytest.approx(own["loss_sum"].sum() / own["targets"].sum())
        assert row.change == pytest.approx((own["loss_sum"] - own["exact_sum"]).sum() / own["targets"].sum())
        assert row.kl == pytest.approx(own["kl_sum"].sum() / own["targets"].sum())
        if row.draws:
            means = controls.groupby("draw").sum()
            changes = (means["loss_sum"] - means["exact_sum"]) / means["targets"]
            assert row.control_change == pytest.approx(changes.mean())
            assert row.excess == pytest.approx(row.change - row.control_change)


def test_the_headline_is_that_of_the_table(ablation: sinkscope.Ablation) -> None:
    row = ablation.ablations.iloc[1]
    assert ablation.headline[f"{row['what']}, {row['where']}"]["change"] == row["change"]
    assert ablation.info["from"]["sinks"] == list(ablation.info["from"]["sinks"])
    assert ablation.info["from"]["massive_layers"][0] == 0


def test_a_batch_changes_no_number(folder: Path, analysis: Analysis, ablation: sinkscope.Ablation) -> None:
    what = ("massive-zero", "sink-value", "cache:1+7")
    batched = sinkscope.ablate(folder, run=analysis, what=what, draws=2, measured=0, batch_size=3, **SMALL)
    one = ablation.ablations.set_index(["what", "where"])
    for row in batched.ablations.itertuples():
        assert row.loss == pytest.approx(one.loc[(row.what, row.where), "loss"], rel=1e-5)
        if row.draws:
            assert row.control_change == pytest.approx(one.loc[(row.what, row.where), "control_change"], abs=1e-5)


def _written(analysis: Analysis, place: Path) -> Path:
    """The run in a folder, without its pages, which take far longer than measuring a tiny model."""
    write_run(analysis.run, place)
    return place


def test_work_that_was_killed_goes_on(
    folder: Path, analysis: Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved_run = _written(analysis, tmp_path / "analysis")
    options: dict[str, Any] = {
        "run": saved_run,
        "what": ("sink-value", "cache:1+7"),
        "draws": 2,
        "measured": 1,
        **SMALL,
    }
    whole = sinkscope.ablate(folder, **options)
    against, calls = Untouched.against, []

    def killed(self: Untouched, *arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return against(self, *arguments)

    monkeypatch.setattr(Untouched, "against", killed)
    with pytest.raises(KeyboardInterrupt):
        sinkscope.ablate(folder, out=tmp_path / "out", **options)
    with pytest.raises(RequestError, match="an unfinished ablation"):
        sinkscope.ablate(folder, out=tmp_path / "out", **options)
    cut = {**options, "sequences": options["sequences"] * 2, "tokens": options["tokens"] // 2}
    with pytest.raises(RequestError, match=r"another (windows, )?shape"):
        sinkscope.ablate(folder, out=tmp_path / "out", resume=True, **cut)
    with pytest.raises(RequestError, match=r"another settings\.draws"):
        sinkscope.ablate(folder, out=tmp_path / "out", resume=True, **{**options, "draws": 1})
    resumed = sinkscope.ablate(folder, out=tmp_path / "out", resume=True, **options)
    assert len(calls) == 4 + 3  # of six, three were kept
    for name, table in whole.tables.items():
        pd.testing.assert_frame_equal(resumed.tables[name], table)
    monkeypatch.setattr("sinkscope.report.render.render", lambda *_: None)
    resumed.save(tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"analysis", "out"}


def test_needles_are_asked_for_under_interventions(
    folder: Path, analysis: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def ask(_model: Any, _tokenizer: Any, cells: list[Any]) -> dict[str, pd.DataFrame]:
        asked.append(len(cells))
        return {"needles": pd.DataFrame({"found": [len(asked) > 1] * len(cells)})}

    monkeypatch.setattr("sinkscope.ablation.again.ask_needles", ask)
    options: dict[str, Any] = {"draws": 1, "measured": 0, "needles": True, "lengths": (350,), "seeds": 1}
    made = sinkscope.ablate(folder, run=analysis, what=("sink-value", "first-token"), **options, **SMALL)
    assert asked == [5, 5, 5]  # untouched, sink-value, its control; a changed text asks for none
    table = made.ablation_needles.set_index("what")
    assert table["score"].to_dict() == {"none": 0.0, "sink-value": 1.0}
    assert table.loc["sink-value", "control"] == 1.0


def test_requests_that_go_wrong(folder: Path, analysis: Analysis, tmp_path: Path) -> None:
    other = saved(tmp_path / "other", seed=1)
    for words, model, changes in (
        ("another model", other, {"run": analysis}),
        ("layers 0 to 2", folder, {"run": analysis, "layers": (5,)}),
        ("is not a run folder", folder, {"run": tmp_path / "nowhere"}),
        ("knows all, massive-zero", folder, {"what": "everything"}),
        ("isolate_documents", folder, {"isolate_documents": True}),
        ("at least 8 tokens", folder, {"tokens": 4}),
    ):
        with pytest.raises(SinkscopeError, match=words):
            sinkscope.ablate(model, **{"what": "sink-value", **SMALL, **changes})  # type: ignore[arg-type]


def test_nothing_massive_is_said_with_an_empty_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = tiny_models.save(tiny("llama_gqa"), tmp_path / "model")
    arguments = ["ablate", str(plain), "--what", "massive-zero", "--sequences", "2", "--tokens", "16", "--out"]
    assert main([*arguments, str(tmp_path / "run")]) == 0
    assert "no massive activation" in capsys.readouterr().out
    run = read_run(tmp_path / "run")
    assert run["ablations"].empty
    assert run.info["headline"] == {}


def test_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                          monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr("sinkscope.report.render.render", lambda *_: None)
    arguments = ["ablate", str(folder), "--what", "sink-value,cache:1+5", "--sequences", "3", "--tokens", "16"]
    arguments += ["--seed", "3", "--draws", "1", "--measured", "0", "--device", "cpu"]
    assert main([*arguments, "--out", str(tmp_path / "run"), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["settings"]["seed"] == 3
    assert "plan: " in printed.err
    assert "2 interventions with 1 control each on 3 sequences of 16 tokens" in printed.err
    assert main([*arguments, "--out", str(tmp_path / "other"), "--stream"]) == 2
    assert "--stream holds one layer at a time" in capsys.readouterr().err
    assert main(["ablate", str(folder), "--what", "sinks", "--out", str(tmp_path / "other")]) == 2
    assert "--what knows all, massive-zero" in capsys.readouterr().err


def test_blocks_by_hand_stack_and_leave_nothing(analysis: Analysis, tmp_path: Path) -> None:
    model = planted()
    place = _written(analysis, tmp_path / "run")
    ids = torch.randint(3, 258, (1, 12), generator=torch.Generator().manual_seed(0))
    ids[0, 0] = 0

    @torch.no_grad()
    def logits() -> torch.Tensor:
        made: torch.Tensor = model(input_ids=ids, use_cache=False).logits
        return made

    before = logits()
    block = sinkscope.ablate
    alone = []
    for enter in (
        lambda: block.massive(model, analysis), lambda: block.massive(model, place, where="everywhere"),
        lambda: block.channels(model, analysis.run), lambda: block.sink_attention(model, positions=[0]),
        lambda: block.sink_attention(model, positions=[0], renormalize=False),
        lambda: block.sink_value(model, positions=(0,), layers=[1]), lambda: block.weights(model, [(0, 3, 5)]),
        lambda: block.cache(model, 1, 4), lambda: block.cache(model, 1, 4, positions="cache"),
    ):  # fmt: skip
        with enter():
            alone.append(logits())
        assert torch.equal(logits(), before)
        assert not torch.equal(alone[-1], before)
    with block.massive(model, analysis), block.cache(model, 1, 4):
        both = logits()
        written = model.generate(ids, max_new_tokens=3, do_sample=False)
    assert written.shape == (1, 15)
    assert not any(torch.equal(both, one) for one in alone)
    with block.massive(model, analysis, to_mean=True):
        torch.testing.assert_close(logits(), before, atol=0.05, rtol=0.05)
    with block.sink_heads(model, analysis):
        logits()
    assert torch.equal(logits(), before)
    with pytest.raises(RequestError, match="another model"):
        block.massive(tiny("gemma2"), analysis)
    with pytest.raises(RequestError, match="name a run"):
        block.sink_value(model)
    with pytest.raises(RequestError, match="`where`"):
        block.massive(model, analysis, where="last")
