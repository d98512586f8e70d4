"""The run.json of every kind has the declared keys, with values of the declared types, and no others."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import families
import ggufs
import pytest
import tiny
import torch
from reference.models import tokens
from safetensors.torch import load_file, save_file
from trios import scale_of, write_trio

from sinkscope.capture.scope import Scope
from sinkscope.capture.settings import Settings
from sinkscope.cli import main
from sinkscope.inputs import TextSource
from sinkscope.provenance.begin import begin, ordered
from sinkscope.provenance.declared import KINDS
from sinkscope.provenance.key import CONTAINERS, SCALARS, Key
from sinkscope.provenance.shared_keys import HOW_READ
from sinkscope.report.kinds import KINDS as DRAWN
from sinkscope.reproduction.scales import SCALES
from sinkscope.tables.run_folder import read_run, write_run

SMALL, WINDOW = ["--sequences", "2", "--tokens", "48"], ["--sink-window", "16"]
WRITTEN = {
    "analysis": ["analyze", "demo", *WINDOW, *SMALL],
    "analysis-forward": ["analyze", "demo-vscale", "--no-backward", "--batch-size", "2", *WINDOW, *SMALL],
    "analysis-streamed": ["analyze", "demo", "--stream", "--isolate-documents", *WINDOW, *SMALL],
    "analysis-gguf": ["analyze", "GGUF", *WINDOW, *SMALL],
    "analysis-deviating": ["analyze", "DEVIATING", "--allow-deviations", *WINDOW, *SMALL],
    "analysis-method": ["analyze", "demo", "--quantize", "w8a8-static", *WINDOW, *SMALL],
    "ablation": ["ablate", "demo", "--what", "sink-value", "--from", "OUT/analysis", "--draws", "1", "--measured", "1"],
    "quantization": ["quantize", "demo", "demo-vscale", "--methods", "none,w8a8-static", "--rank-limit", "1", *SMALL],
    "evaluation": ["evaluate", "demo", "--documents", "2", "--lengths", "240", "--depths", "1", "--seeds", "1"],
    "evaluation-needles": ["evaluate", "demo", "--no-perplexity", "--lengths", "240", "--depths", "1", "--seeds", "1"],
    "evaluation-method": ["evaluate", "demo", "--variants", "none", "--documents", "2", "--quantize", "a4-static"],
    "track": ["track", "CHECKPOINTS", *WINDOW, *SMALL],
    "comparison": ["compare", "OUT/analysis", "OUT/analysis-forward", "--allow-mismatch"],
    "reproduction": ["reproduce", "--model", "demo", *SMALL],
    "reproduction-trained": ["reproduce", "--scale", "mini", "--seeds", "1"],
}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run folder of every kind, without figures, which take far longer than measuring a tiny model."""
    root, checkpoints = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("checkpoints")
    for step in range(2):
        tiny.save(tiny.build("llama_gqa", seed=step), checkpoints / f"checkpoint-{step}")
    deviating = tiny.save(tiny.build("llama_gqa"), root.parent / "deviating")
    stored = {**load_file(deviating / "model.safetensors"), "extra": torch.zeros(1)}
    save_file(stored, deviating / "model.safetensors", metadata={"format": "pt"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sinkscope.report.render.render", lambda *_: None)
        places = {"CHECKPOINTS": str(checkpoints), "GGUF": str(ggufs.write(checkpoints.parent / "tiny.gguf"))}
        places["DEVIATING"] = str(deviating)
        trio = write_trio(root.parent / "trio")
        patch.setitem(SCALES, "mini", scale_of(trio))
        for name, arguments in WRITTEN.items():
            known = [places.get(part, part).replace("OUT/", f"{root}/") for part in arguments]
            place = root / name if arguments[0] != "reproduce" else root.parent / name
            assert main([*known, "--out", str(place), "--device", "cpu"]) == 0
            if place.parent != root:
                (place / "report").rename(root / name)
        yield root


def read(folder: Path) -> dict[str, Any]:
    info: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return info


def problems(info: dict[str, Any]) -> list[str]:
    """What a run.json has that is not declared for its kind, what it lacks, and what is of another type."""
    declared = {key.name: key for key in KINDS[info["kind"]].keys}
    return list(_problems(info, "", declared))


def _problems(value: dict[str, Any], prefix: str, declared: dict[str, Key]) -> Iterator[str]:
    below = {name: key for name, key in declared.items() if re.fullmatch(re.escape(prefix) + r"[^.]+", name)}
    for name, key in below.items():
        if key.always and not name.endswith("*") and name.removeprefix(prefix) not in value:
            yield f"{name} is missing"
    for name, inner in value.items():
        key = below.get(prefix + name) or below.get(f"{prefix}*")
        if key is None:
            yield f"{prefix}{name} is not declared"
        elif not any(_is(inner, alternative) for alternative in key.alternatives):
            yield f"{prefix}{name} is {inner!r}, not {key.type}"
        elif isinstance(inner, dict):
            yield from _problems(inner, f"{key.name}.", declared)
        elif "list of objects" in key.alternatives:
            for item in inner:
                yield from _problems(item, f"{key.name}[].", declared)


def _is(value: Any, declared: str) -> bool:
    if declared.startswith("list of "):
        of = declared.removeprefix("list of ")
        return isinstance(value, list) and all(_is(item, "object" if of == "objects" else of) for item in value)
    if declared == "object":
        return isinstance(value, dict)
    return isinstance(value, SCALARS[declared]) and (declared == "boolean" or not isinstance(value, bool))


@pytest.mark.parametrize("name", WRITTEN)
def test_what_was_written_is_read(name: str, out: Path) -> None:
    """Every table holds to its declaration, and run.json to that of its keys."""
    assert read_run(out / name).info["kind"] == name.split("-")[0]


@pytest.mark.parametrize("name", WRITTEN)
def test_keys_are_those_that_are_declared(name: str, out: Path) -> None:
    info = read(out / name)
    assert info["kind"] == name.split("-")[0]
    assert problems(info) == []


def test_every_kind_is_written_here() -> None:
    assert KINDS.keys() == {name.split("-")[0] for name in WRITTEN} == DRAWN.keys()


def test_every_key_is_somewhere_used(out: Path) -> None:
    """A declared key that no run has would be a stale one."""
    for kind in KINDS.values():
        used: set[str] = set()
        for name in WRITTEN:
            if name.split("-")[0] == kind.name:
                used |= set(_used(read(out / name), "", {key.name for key in kind.keys}))
        empty = ("not_applicable.", "failed[].", "plan.chosen.")  # of a budget: tests/analysis/test_budget.py
        # No run here reads a data set: see below.
        how_read = tuple(f"{text}.{key.name}" for text in ("data", "calibration") for key in HOW_READ)
        how_read += ("model.method.library", "model.method.note")  # nor is under a library's method: see tests/methods
        how_read += ("checkpoints[].same_as",)  # see tests/tracking
        how_read += (".dtype_chosen",)  # see tests/planning/test_cpu_dtype.py
        how_read += tuple(key.name for key in kind.keys if key.name.split(".")[0] == "saved")  # see test_saving.py
        how_read += (".adapter_sha256",)  # see tests/loading/test_adapter.py
        declared = {key.name for key in kind.keys if not key.name.startswith(empty)}
        if kind.name != "analysis":  # every kind says of a GGUF file and of a method what an analysis says
            declared = {name for name in declared if ".gguf" not in name and ".deviations" not in name}
            used = {name for name in used if ".method" not in name}
            declared = {name for name in declared if ".method" not in name}
        assert {name for name in declared if not name.endswith(how_read)} == used


def test_how_a_text_was_read_is_what_the_declaration_has() -> None:
    other: dict[type, Any] = {str: "another", bool: True, int: 3}
    hints = get_type_hints(TextSource)
    kinds = {name: next(kind for kind in other if kind in (hint, *get_args(hint))) for name, hint in hints.items()}
    text = TextSource(**{name: other[kind] for name, kind in kinds.items()})
    assert list(text.provenance()) == ["source", *(key.name for key in HOW_READ)]


def _used(value: dict[str, Any], prefix: str, declared: set[str]) -> Iterator[str]:
    for name, inner in value.items():
        key = prefix + name if prefix + name in declared else f"{prefix}*"
        yield key
        for item in [inner] if isinstance(inner, dict) else inner if isinstance(inner, list) else []:
            if isinstance(item, dict):
                yield from _used(item, f"{key}." if isinstance(inner, dict) else f"{key}[].", declared)


def test_a_scope_says_the_same_of_itself(tmp_path: Path) -> None:
    model, ids = families.tiny("olmo2"), tokens(2, 40)
    with Scope(model, Settings(early=15, positions=32)) as scope:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    write_run(scope.run(), tmp_path / "run")
    info = read(tmp_path / "run")
    assert problems(info) == []
    assert info["not_applicable"]
    assert not {"command", "driver"} & info.keys()


def test_keys_stand_in_the_declared_order(out: Path) -> None:
    for name in WRITTEN:
        info = read(out / name)
        order = [key.name for key in KINDS[info["kind"]].keys if key.name in info]
        assert list(info) == order


def test_what_is_not_declared_is_kept_and_seen() -> None:
    info = begin("analysis", settings={}, conventions={}, headline={}, weather="fine", device=1)
    assert [next(iter(info)), list(ordered(info))[-1]] == ["kind", "weather"]
    found = problems(info)
    assert "weather is not declared" in found
    assert "device is 1, not text" in found
    assert "settings.early is missing" in found


def test_the_declaration_is_sound() -> None:
    for kind in KINDS.values():
        names = [key.name for key in kind.keys]
        assert len(set(names)) == len(names)
        for key in kind.keys:
            for alternative in key.alternatives:
                assert alternative in (*SCALARS, *CONTAINERS) or alternative.removeprefix("list of ") in SCALARS
            parent = key.name.rpartition(".")[0].removesuffix("[]")
            assert not parent or parent in names[: names.index(key.name)]
