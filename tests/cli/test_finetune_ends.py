"""What `sinkscope finetune` says when it ends, at its end or before."""

import json
from pathlib import Path
from typing import Any

import pytest

from sinkscope.cli import main

SMALL = ["--tokens", "16", "--steps", "1", "--batch-sequences", "1", "--valid-sequences", "3", "--no-report",
         "--device", "cpu"]  # fmt: skip


def test_it_names_what_is_there_and_how_to_go_on(
    tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    text, model = tmp_path / "text.jsonl", str(tiny_folders["llama_gqa"])
    text.write_text("\n".join(json.dumps({"text": f"document {n} and some more words"}) for n in range(60)))
    command = ["finetune", model, "--data", str(text), "--out", str(tmp_path / "out"), *SMALL]
    with monkeypatch.context() as patched:
        patched.setattr("sinkscope.finetuning.run._load", interrupt)  # nothing has begun
        assert main(command) == 1
    assert capfd.readouterr().err.splitlines()[-1] == "sinkscope: interrupted"
    with monkeypatch.context() as patched:
        patched.setattr("sinkscope.finetuning.run._train", interrupt)
        assert main(command) == 1
    said = "sinkscope: interrupted: the same command with --resume goes on from here"
    assert capfd.readouterr().err.splitlines()[-1] == said
    assert main([*command, "--resume"]) == 0
    places = dict(line.split(": ") for line in capfd.readouterr().out.splitlines())
    assert list(places) == ["model", "metrics"]  # the one step is no multiple of the spacing of checkpoints
    assert all(Path(place).exists() for place in places.values())
