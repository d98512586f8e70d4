"""A name in a file means a file of that folder, or is refused by name: in an index of weights as in a run.json."""

import json
import os
import string
from pathlib import Path

import pytest
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report.synthetic import Shape, synthetic
from safetensors.torch import load_file, save_file

from sinkscope.cli import main
from sinkscope.errors import SinkscopeError
from sinkscope.inside import inside
from sinkscope.loading.load import load_model
from sinkscope.loading.model_folder import INDEX, weight_files
from sinkscope.loading.resolve import resolve
from sinkscope.tables.run_folder import Run, read_run, write_run

OUTSIDE = ["../x", "a/../../x", "/etc/passwd", "..", "C:\\x", "\\\\host\\x", "a\\..\\..\\x", "//x", "", "a\0b", 3, None]


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_leave(tmp_path: Path, name: object) -> None:
    with pytest.raises(SinkscopeError, match="index names"):
        inside(tmp_path, name, "index")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(alphabet=string.ascii_letters + "./\\:~ \0", max_size=12))
def test_whatever_is_taken_lies_inside(tmp_path: Path, name: str) -> None:
    try:
        path = inside(tmp_path, name, "index")
    except SinkscopeError:
        return
    assert path.resolve().is_relative_to(tmp_path.resolve())


def test_links(tmp_path: Path) -> None:
    """One that stays inside is followed, also through a folder that is itself a link; one that leaves is not."""
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "x").touch()
    (tmp_path / "outside").touch()
    (folder / "stays").symlink_to("sub/x")
    (folder / "leaves").symlink_to("../outside")
    (folder / "way").symlink_to("..")
    (folder / "circle").symlink_to("circle")
    (tmp_path / "link").symlink_to(folder)
    assert inside(folder, "stays", "index") == folder / "stays"
    assert inside(tmp_path / "link", "sub/x", "index") == tmp_path / "link" / "sub" / "x"
    for name in ("leaves", "way/outside", "circle"):
        with pytest.raises(SinkscopeError, match=f"index names '{name}'"):
            inside(folder, name, "index")


def test_the_cache_of_the_hub_links_to_blobs_beside_it(tmp_path: Path) -> None:
    """And nowhere else."""
    commit = tmp_path / "models--a--b" / "snapshots" / "0123"
    for place in (commit, tmp_path / "models--a--b" / "blobs", tmp_path / "models--c--d" / "blobs"):
        place.mkdir(parents=True)
    (commit / "own").symlink_to("../../blobs/aa")
    (commit / "other").symlink_to("../../../models--c--d/blobs/aa")
    (commit / "config").symlink_to("../../refs")
    assert inside(commit, "own", "index") == commit / "own"
    for name in ("other", "config"):
        with pytest.raises(SinkscopeError, match="a link to"):
            inside(commit, name, "index")


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return tiny.save(tiny.build("llama_gqa"), tmp_path / "model", max_shard_size="20KB")


@pytest.mark.parametrize("way", ["..", "absolute", "link"])
def test_a_shard_outside_is_refused_by_every_reader(sharded: Path, way: str) -> None:
    index = json.loads((sharded / INDEX).read_text())
    shard = max(index["weight_map"].values())
    outside = sharded.parent / shard
    (sharded / shard).rename(outside)
    name = {"..": f"../{shard}", "absolute": str(outside), "link": shard}[way]
    if way == "link":
        (sharded / shard).symlink_to(f"../{shard}")
    index["weight_map"] = {key: name if value == shard else value for key, value in index["weight_map"].items()}
    (sharded / INDEX).write_text(json.dumps(index))
    for read in (
        lambda: weight_files(sharded, "model"),
        lambda: resolve(str(sharded)).weights_sha256,
        lambda: load_model(str(sharded), device="cpu"),
        lambda: load_model(str(sharded), device="cpu", stream=True),
    ):
        with pytest.raises(SinkscopeError, match=f"names '{name}'"):
            read()


def test_shards_inside_are_read_through_their_links(sharded: Path) -> None:
    (sharded / "kept").mkdir()
    before = resolve(str(sharded)).weights_sha256
    for path in list(sharded.glob("model-*.safetensors")):
        path.rename(sharded / "kept" / path.name)
        path.symlink_to(f"kept/{path.name}")
    assert resolve(str(sharded)).weights_sha256 == before


def test_a_gguf_file_outside(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    (tmp_path / "model").mkdir()
    with pytest.raises(SinkscopeError, match=r"`gguf_file` names '\.\./x\.gguf'"):
        resolve(str(tmp_path / "model"), gguf_file="../x.gguf")
    (tmp_path / "model" / "a.gguf").symlink_to("../x.gguf")
    with pytest.raises(SinkscopeError, match=r"names 'a\.gguf', a link to"):
        resolve(str(tmp_path / "model"))


@pytest.mark.parametrize("name", ["../layers", "link"])
def test_a_table_outside_is_refused_by_every_reader(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    run = synthetic(Shape(2, 2, 1))
    write_run(Run(run.info, run.tables), folder)
    write_run(Run(run.info, run.tables), tmp_path / "other")
    (folder / "layers.parquet").rename(tmp_path / "layers.parquet")
    if name == "link":
        (folder / "link.parquet").symlink_to("../layers.parquet")
    info = json.loads((folder / "run.json").read_text())
    info["tables"] = [name if table == "layers" else table for table in info["tables"]]
    (folder / "run.json").write_text(json.dumps(info))
    with pytest.raises(SinkscopeError, match=f"names '{name}.parquet'"):
        read_run(folder)
    for command in (
        ["report", str(folder)],
        ["compare", str(folder), str(tmp_path / "other"), "--out", str(tmp_path / "both")],
    ):
        assert main(command) == 1
        assert f"names '{name}.parquet'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["adapter_config.json", "adapter_model.safetensors"], "is an adapter for 'owner/base', and no model"),
        (["params.json", "consolidated.00.pth"], r"layout of a model's own code \(params.json\)"),
        (["config.json", "consolidated.safetensors"], r"layout of Mistral's own code \('consolidated.safetensors'\)"),
        (["config.json", "model.fp16.safetensors"], r"only as a variant \('model.fp16.safetensors'\)"),
        (["config.json", "model-00001-of-00002.safetensors"], "1 shard.s. of weights and no model.safetensors.index"),
        (["config.json", "adapter_model.safetensors"], "is an adapter for its base"),
        (["config.json", "pytorch_model.bin"], r"only as pickle files \(pytorch_model.bin\)"),
        (["config.json", "pytorch_model.fp16.bin"], r"only as pickle files \(pytorch_model.fp16.bin\)"),
        (["config.json", "model.safetensors.incomplete"], "not downloaded to its end"),
        (["config.json", "a.gguf", "b.gguf"], "holds its weights as GGUF: name a file"),
        (["config.json", "odd.safetensors"], "neither model.safetensors nor .* there is 'odd.safetensors'"),
        (["readme.md"], "is not a model folder: it has no config.json"),
    ],
)
def test_folders_that_are_nearly_models_are_named_for_what_they_are(
    tmp_path: Path, files: list[str], said: str
) -> None:
    whole = tiny.save(tiny.build("llama_gqa"), tmp_path / "whole")
    folder = tmp_path / "model"
    folder.mkdir()
    for name in files:
        (folder / name).write_text("{}")
    if "config.json" in files:
        (folder / "config.json").write_bytes((whole / "config.json").read_bytes())
    if "adapter_config.json" in files:
        (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/base"}')
    with pytest.raises(SinkscopeError, match=said):
        load_model(str(folder), device="cpu")


def test_a_shard_whose_download_was_not_finished(sharded: Path) -> None:
    shard = next(sharded.glob("model-*.safetensors"))
    shard.rename(f"{shard}.incomplete")
    with pytest.raises(SinkscopeError, match=r"incomplete' is a download that was not finished: download it again"):
        load_model(str(sharded), device="cpu")


def test_a_cache_that_holds_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, with the configuration and the tokenizer and no weights, or some of them."""
    whole = tiny.save(tiny.build("llama_gqa"), tmp_path / "whole")
    commit = tmp_path / "hub" / "models--me--tiny" / "snapshots" / ("0123456789" * 4)
    (commit.parents[1] / "refs").mkdir(parents=True)
    (commit.parents[1] / "refs" / "main").write_text(commit.name)
    commit.mkdir(parents=True)
    for path in whole.iterdir():
        if path.suffix != ".safetensors":
            (commit / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    with pytest.raises(SinkscopeError, match="its weights are not in the local cache"):
        load_model("me/tiny", device="cpu")
    weights = load_file(whole / "model.safetensors")
    save_file(weights, commit / "model-00001-of-00002.safetensors")
    (commit / INDEX).write_text(
        json.dumps(
            {
                "metadata": {},
                "weight_map": dict.fromkeys(weights, "model-00001-of-00002.safetensors") | {"b": "c.safetensors"},
            }
        )
    )
    with pytest.raises(SinkscopeError, match=r"the shard c\.safetensors that .* lists is missing: download it again"):
        load_model("me/tiny", device="cpu")


def test_names_that_no_library_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder's name may be any bytes; what is not UTF-8 is refused in one line, as a model, a text or a place."""
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff"))
    tiny.save(tiny.build("llama_gqa"), tmp_path / "model").rename(odd)
    (odd / "text.parquet").touch()
    out = ["--out", str(tmp_path / "out")]
    for command in (
        ["analyze", str(odd), *out],
        ["analyze", "demo", "--device", "cpu", "--data", str(odd), *out],
        ["analyze", "demo", "--out", str(odd / "run")],
    ):
        assert main(command) == 2
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sinkscope:")]
        assert len(said) == 1
        assert r"a\udcff" in said[0]
        assert "is not UTF-8" in said[0]
