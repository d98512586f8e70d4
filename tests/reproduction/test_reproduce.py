"""A whole reproduction at a scale of a moment: what it leaves, and that interruptions change no bit."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import families
import forks as forking
import pandas as pd
import pytest
from trios import scale_of

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.intervals.verdicts import UNTESTABLE
from sinkscope.pretraining.run import pretrain_seeds
from sinkscope.quantities.rows import quantity
from sinkscope.reproduction import run as module
from sinkscope.reproduction.claim import BASELINE
from sinkscope.reproduction.claims import CLAIMS, TESTS
from sinkscope.reproduction.measures import Seed, numbers
from sinkscope.reproduction.run import forecast, forecast_lines, reproduce
from sinkscope.reproduction.scales import SCALES, Scale
from sinkscope.reproduction.settings import Place, ReproductionRequest, Subject
from sinkscope.runs import read_run
from sinkscope.training.recipe import load_recipe

pytestmark = pytest.mark.slow


def asked(place: Path, *, resume: bool = False, **subject: Any) -> ReproductionRequest:
    return ReproductionRequest(Subject(scale="mini", **subject), Place(place, resume=resume))


def settled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the stages that are made from now on."""
    made: list[str] = []
    settle = module.settle

    def noted(stage: Any, place: Path) -> str:
        made.append(stage.name)
        return settle(stage, place)

    monkeypatch.setattr(module, "settle", noted)
    return made


def test_it_leaves_a_folder_per_stage_and_a_report_of_every_claim(whole: Path) -> None:
    assert {path.name for path in whole.iterdir() if not path.name.startswith(".")} == {
        "train", "analyze", "track", "quantize", "evaluate", "compare", "report", "stages"
    }  # fmt: skip
    assert (whole / "train" / "tiny-vscale" / "seed-1" / "model").is_dir()
    run = read_run(whole / "report")
    assert list(run["claims"]["claim"]) == [claim.number for claim in CLAIMS]
    assert list(run["tests"]["test"]) == list(TESTS)
    assert set(run["seed_values"]["seed"]) == {0, 1}
    assert set(run["tests"]["over"]) <= {"seeds", "exact", ""}
    for name, table in run.tables.items():
        assert len(pd.read_csv(whole / "report" / f"{name}.csv")) == len(table)
    text = (whole / "report" / "README.md").read_text()
    assert all(claim.says.split("|")[0] in text for claim in CLAIMS)
    assert all(f"`{name}`" in text for name in TESTS)
    assert run.info["trained"]["steps"] == 6


def test_numbers_over_layers_are_those_of_the_headline(whole: Path) -> None:
    runs = [read_run(whole / "analyze" / f"{name}-seed-0") for name in ("tiny", "tiny-vscale")]
    for test in TESTS.values():
        metric = test.measure.removesuffix(" / baseline")
        if metric not in runs[0].headline or not quantity(metric).over_layers:
            continue
        seed = Seed({BASELINE: runs[0], **{role: runs[1] for role in test.models if role != BASELINE}})
        expected = runs[0].headline[metric]
        if test.trained:
            expected = runs[1].headline[metric] / expected if expected else float("nan")
        assert numbers(test, [seed])[0].value == pytest.approx(expected, nan_ok=True)


def test_what_is_finished_stays(recipes: tuple[str, str, str], copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*.parquet")}
    # The copy lies elsewhere, so models have other names: that is another request, but trainings stay.
    reproduce(asked(copied, resume=True), scale_of(recipes))
    assert all(path.stat().st_mtime_ns == time for path, time in before.items() if "train" in path.parts)
    made = settled(monkeypatch)
    reproduce(asked(copied, resume=True), scale_of(recipes))
    assert made == []
    damaged = copied / "analyze" / "tiny-seed-0" / "heads.parquet"
    damaged.write_bytes(b"no parquet")
    reproduce(asked(copied, resume=True), scale_of(recipes))
    assert made == ["analyze/tiny-seed-0", "compare", "report"]
    made.clear()
    reproduce(asked(copied, resume=True, sequences=3), scale_of(recipes))
    assert "analyze/tiny-seed-0" in made
    assert read_run(copied / "report").info["data"]["sequences"] == 3


def test_finished_trainings_are_taken_over(
    recipes: tuple[str, str, str], tmp_path: Path, undrawn: None, monkeypatch: pytest.MonkeyPatch  # noqa: ARG001
) -> None:  # fmt: skip
    place = tmp_path / "out"
    for path in recipes:
        recipe = load_recipe(Path(path))
        pretrain_seeds(recipe, place / "train" / recipe.name, 1)
    monkeypatch.setattr("sinkscope.pretraining.run._train", lambda *_, **__: pytest.fail("trained again"))
    reproduce(asked(place, resume=True, seeds=1), scale_of(recipes))
    run = read_run(place / "report")
    assert set(run["tests"]["over"]) <= {"sequences", "layers", "exact", ""}


def test_a_forecast_makes_nothing(recipes: tuple[str, str, str], tmp_path: Path) -> None:
    place = tmp_path / "out"
    lines = forecast_lines(forecast(asked(place), scale_of(recipes)))
    assert not place.exists()
    assert lines[0].startswith("train/tiny/seed-0: about ")
    assert lines[-1].startswith("23 of 23 to do; about ")


def test_a_forecast_knows_what_is_finished(recipes: tuple[str, str, str], whole: Path) -> None:
    lines = forecast_lines(forecast(asked(whole), scale_of(recipes)))
    assert "analyze/tiny-seed-0: finished" in lines
    assert lines[-1].startswith("0 of 23 to do")


def test_a_model_is_tested_without_training(
    tiny_folders: dict[str, Path], tmp_path: Path, undrawn: None  # noqa: ARG001
) -> None:  # fmt: skip
    subject = Subject(on=str(tiny_folders["llama_gqa"]), sequences=4, tokens=24)
    reproduce(ReproductionRequest(subject, Place(tmp_path / "out")))
    run = read_run(tmp_path / "out" / "report")
    assert set(run["tests"]["test"]) == {name for name, test in TESTS.items() if not test.trained}
    assert set(run["tests"]["models"]) == {"baseline"}
    says = run["claims"].set_index("claim")["says"]
    assert says[9].endswith("[the baseline's part alone]")  # what V-scale changes was not tested
    assert says[1] == CLAIMS[0].says


def test_a_model_that_int8_is_not_made_for_is_measured_all_the_same(
    tmp_path: Path, undrawn: None, monkeypatch: pytest.MonkeyPatch  # noqa: ARG001
) -> None:  # fmt: skip
    """Fused experts take no probe: those claims are not testable with the reason, all others are tested."""
    subject = Subject(on=str(families.saved("mixtral", tmp_path / "mixtral")), sequences=4, tokens=24)
    place = tmp_path / "out"
    reproduce(ReproductionRequest(subject, Place(place)))
    run = read_run(place / "report")
    verdicts = run["claims"].set_index("claim")["verdict"]
    assert all(verdicts[claim] == UNTESTABLE for claim in (9, 10))
    assert all(verdicts[claim] != UNTESTABLE for claim in (1, 2, 3, 4, 5))
    tests = run["tests"].set_index("test")
    assert all("fuses several matrices" in tests["reason"][name] for name in ("static-hurts", "down-explains"))
    assert any("INT8: not measured" in note and "fuses several matrices" in note for note in run.info["notes"])
    assert not run["stages"]["stage"].str.startswith("quantize").any(), "no command that fails"
    assert not (place / "quantize").exists()
    made = settled(monkeypatch)
    reproduce(ReproductionRequest(subject, Place(place, resume=True)))
    assert made == [], "what was left out stays left out"
    assert "quantize/mixtral: finished" in forecast_lines(forecast(ReproductionRequest(subject, Place(place))))


OTHERS = {  # files in a place, and what is said
    "": "is not a folder",
    "mine/notes.txt": "holds no reproduction",
    "run.json": "holds no reproduction",
    "train/images/0001.png": "holds no reproduction",
    "train/part-0.parquet": "holds no reproduction",
    "stages/first.py": "holds no reproduction",
}
OURS = [
    "train/tiny/seed-0/settings.json",
    "train/tokens/0123/train.json",
    "train/tiny/tokens/0123/train.json",  # as `pretrain` leaves them
    "stages/analyze--tiny-seed-0.json",
]


@pytest.mark.parametrize("held", OTHERS)
def test_other_peoples_folders_are_refused(held: str, recipes: tuple[str, str, str], tmp_path: Path) -> None:
    """With `resume` and without, and untouched."""
    place = tmp_path / "out"
    file = place / held if held else place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("mine")
    for resume in (True, False):
        with pytest.raises(RequestError, match=OTHERS[held]):
            reproduce(asked(place, resume=resume), scale_of(recipes))
    assert file.read_text() == "mine"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


@pytest.mark.parametrize("held", OURS)
def test_ones_own_is_gone_on_with_when_asked(held: str, recipes: tuple[str, str, str], tmp_path: Path) -> None:
    file = tmp_path / "out" / held
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    with pytest.raises(RequestError, match="`resume` to go on"):
        reproduce(asked(tmp_path / "out"), scale_of(recipes))


def test_a_link_to_nowhere_is_no_place(recipes: tuple[str, str, str], tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "nowhere")
    with pytest.raises(RequestError, match="is not a folder"):
        reproduce(asked(tmp_path / "out"), scale_of(recipes))


def test_a_recipe_that_changed_is_refused(recipes: tuple[str, str, str], copied: Path, tmp_path: Path) -> None:
    """What was trained by the one is not reported as the other's; nothing is touched."""
    changed = tuple(shutil.copy(path, tmp_path) for path in recipes)
    text = Path(changed[0]).read_text()
    Path(changed[0]).write_text(text.replace("lr = 1e-2", "lr = 2e-2"))
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()}
    with pytest.raises(RequestError, match=r"begun with other settings in optimizer\.lr"):
        reproduce(asked(copied, resume=True), scale_of((changed[0], changed[1], changed[2])))
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()} == before


def test_a_damaged_training_is_named(recipes: tuple[str, str, str], copied: Path) -> None:
    metrics = copied / "train" / "tiny" / "seed-0" / "metrics.parquet"
    metrics.write_bytes(metrics.read_bytes()[:200])
    with pytest.raises(SinkscopeError, match=r"metrics\.parquet is missing or damaged: move .*seed-0 away"):
        reproduce(asked(copied, resume=True), scale_of(recipes))


def test_recipes_of_one_name_are_no_trio(recipes: tuple[str, str, str], tmp_path: Path) -> None:
    with pytest.raises(SinkscopeError, match="named apart"):
        reproduce(asked(tmp_path / "out"), replace(scale_of(recipes), recipes=(recipes[0],) * 3))


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_shipped_scales_are_trios(scale: Scale) -> None:
    loaded = scale.loaded()
    base = loaded[BASELINE]
    assert bool(scale.needles) == (base.data.tokens >= 256), "question and answer alone take some 150 tokens"
    variants = [recipe.vscale.variant for recipe in loaded.values()]
    assert variants == ["none", "learned", "backward-only"]
    assert all(replace(recipe, name=base.name, vscale=base.vscale) == base for recipe in loaded.values())


def test_several_processes_train_and_the_first_does_the_rest(
    recipes: tuple[str, str, str], forks: forking.Server, tmp_path: Path
) -> None:
    place = tmp_path / "out"
    group = forks.start_group(
        "victims:reproduces_and_dies", lambda _: [list(recipes), str(place), "never", False], processes=2
    )
    assert [forked.wait() for forked in group] == [0, 0], [forked.err for forked in group]
    assert len(read_run(place / "report")["tests"]) == len(TESTS)
    assert "2 processes, parameters replicated" in group[0].err


@pytest.mark.parametrize("how", ["lost", "mine"])
def test_what_lies_in_the_place_of_a_run_is_named(copied: Path, recipes: tuple[str, str, str], how: str) -> None:
    """The advice is to move that one folder away, not to train everything anew elsewhere."""
    report = copied / "report"
    if how == "lost":
        (report / "run.json").unlink()
    else:
        (report / "notes.txt").write_text("mine")
        (report / "claims.csv").unlink()
    with pytest.raises(RequestError, match=r"report is not the run that was left there.* move it away"):
        reproduce(asked(copied, resume=True), scale_of(recipes))
    report.rename(copied.parent / "report-aside")
    reproduce(asked(copied, resume=True), scale_of(recipes))
    assert (report / "run.json").is_file()
