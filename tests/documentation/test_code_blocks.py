"""Every command and every piece of Python in the documentation is run, or says why not.

They are run here page by page, in a folder that has what the pages speak of: `./model`, texts, run folders. Commands
get fewer sequences than their defaults, and reports are not drawn: what is tested is that what stands there can be
typed.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from code_blocks import KINDS, PAGES, ROOT, Block, blocks, parsed
from ggufs import write
from transformers import Trainer, TrainingArguments

import sinkscope
from sinkscope.cli import main
from sinkscope.cli.app import verb_command
from sinkscope.cli.verbs import VERBS
from sinkscope.loading.load import load_model
from sinkscope.loading.resolve import packaged_folder
from sinkscope.models.families import FAMILIES

BLOCKS = [block for page in PAGES for block in blocks(page)]
RUNNING = sorted({block.page for block in BLOCKS if block.run})

# What is put behind a command that does not say it itself.
WINDOWS = {"--sequences": "2", "--tokens": "64"}
SMALL: dict[str, dict[str, str]] = {
    "ablate": {**WINDOWS, "--draws": "1"},
    "analyze": WINDOWS,
    "compare": WINDOWS,
    "evaluate": {"--documents": "2", "--characters": "400", "--depths": "1", "--seeds": "1", "--variants": "single_2"},
    "finetune": {"--tokens": "32", "--batch-sequences": "2", "--valid-sequences": "3", "--checkpoint-every": "100"},
    "quantize": {**WINDOWS, "--rank-sequences": "0"},
    "track": WINDOWS,
}


def identified(block: Block) -> str:
    return f"{block.page}:{block.line}"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.reason], ids=identified)
def test_what_is_not_run_says_why(block: Block) -> None:
    kind, words = block.reason or ("", "")
    assert kind in KINDS
    assert len(words) >= 10


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "sh" and not b.synopsis], ids=identified)
def test_every_command_parses(block: Block) -> None:
    for program, *arguments in block.commands():
        if program == "sinkscope" and arguments and not arguments[0].startswith("-"):
            verb, *rest = arguments
            with verb_command(verb).make_context(verb, rest) as context:
                assert context.command.name
        else:
            assert block.reason or program == "sinkscope"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.synopsis], ids=identified)
def test_every_synopsis_names_verbs(block: Block) -> None:
    lines = [line.split() for line in block.code.splitlines()]
    after = [words[words.index("sinkscope") + 1] for words in lines if "sinkscope" in words]
    assert after
    assert set(after) <= {verb.__name__ for verb in VERBS}


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "python"], ids=identified)
def test_all_python_is_python(block: Block) -> None:
    compile(block.code, identified(block), "exec")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages take for granted, in one folder."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "model").symlink_to(packaged_folder("demo"))
    documents = [f"document {n} says {n * n} in some more words than that" * 8 for n in range(60)]
    lines = "\n".join(json.dumps({"text": text, "body": text}) for text in documents)
    for name in ("text.jsonl", "train.jsonl"):
        (folder / name).write_text(lines)
    for name in ("evaluation.txt", "calibration.txt", "corpus.txt"):
        (folder / name).write_text("\n\n".join(documents))
    write(folder / "model.Q4_K_M.gguf")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sinkscope.report.render.render", lambda *_: None)
        for name in ("demo", "demo-vscale"):
            sinkscope.analyze(name, sequences=4, tokens=64).save(folder / "finished" / name)
    return folder


@pytest.fixture
def here(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the world, and the working folder."""
    folder = Path(shutil.copytree(world, tmp_path / "here", symlinks=True))
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("page", RUNNING)
def test_the_page_does_what_it_says(page: str, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    AcceleratorState._reset_state(reset_partial_state=True)  # a page is a program: the last one's settings are not its
    known = set(FAMILIES)
    names: dict[str, Any] = {}
    try:
        for block in blocks(ROOT / page):
            if not block.run:
                continue
            if "runs" in block.given:
                shutil.copytree(here / "finished", here / "runs", dirs_exist_ok=True)
            if block.language == "python":
                names.update(_given(block, here))
                exec(compile(block.code, identified(block), "exec"), names)  # noqa: S102
                continue
            for _, *arguments in block.commands():
                code = main([*arguments, *_smaller(arguments)])
                assert code == 0, f"{identified(block)}: {arguments}\n{capfd.readouterr().err}"
    finally:
        for added in set(FAMILIES) - known:  # as an example of a page adds one
            del FAMILIES[added]


def _smaller(arguments: list[str]) -> list[str]:
    """Options that make a command quick, of those that it does not give itself."""
    verb = arguments[0]
    if verb == "compare" and not {"demo", "demo-vscale"} & set(arguments):
        return []
    return [
        word for option, value in SMALL.get(verb, {}).items() if option not in arguments for word in (option, value)
    ]


def _given(block: Block, folder: Path) -> dict[str, Any]:
    """The names that a block takes for granted."""
    loaded = load_model("demo")
    model, tokenizer = loaded.model, loaded.tokenizer
    assert tokenizer is not None
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    ids = torch.arange(96).reshape(2, 48)
    dataset = [{"input_ids": row.tolist(), "labels": row.tolist()} for row in ids]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    arguments = TrainingArguments(
        output_dir=str(folder / "out"), max_steps=2, report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True
    )

    def logged(values: dict[str, float], step: int) -> None:
        assert step > 0
        assert values

    def train(_: int) -> None:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    makers: dict[str, Callable[[], Any]] = {
        "model": lambda: model,
        "tokenizer": lambda: tokenizer,
        "ids": lambda: ids,
        "conversations": lambda: [[{"role": "user", "content": "Where is the sink?"}]],
        "args": lambda: arguments,
        "dataset": lambda: dataset,
        "trainer": lambda: Trainer(model=model, args=arguments, train_dataset=dataset),
        "optimizer": lambda: optimizer,
        "loader": lambda: [{"input_ids": ids, "labels": ids}] * 2,
        "tracker": list,
        "log": lambda: logged,
        "train": lambda: train,
    }
    return {name: makers[name]() for name in block.given if name != "runs"}


def test_what_is_a_block_and_what_is_run() -> None:
    page = """
```sh
sinkscope nowhere  # a word
```

    sinkscope analyze DIR

    x = a formula

<!-- ci: try -->
<!-- not run: hub: because it is far -->
```sh
pip install \\
    something
```

<!-- given: model, ids -->
```python
model(ids)
```

```text
what came out
```
"""
    found = list(parsed(page, "page.md"))
    assert [(block.language, block.run, block.synopsis) for block in found] == [
        ("sh", True, False), ("sh", False, True), ("sh", False, False), ("python", True, False),
    ]  # fmt: skip
    assert found[0].commands() == [["sinkscope", "nowhere"]]
    assert found[2].commands() == [["pip", "install", "something"]]
    assert found[2].reason == ("hub", "because it is far")
    assert found[3].given == ("model", "ids")
