"""Several processes measure what one does, and end together."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import families
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from forks import MODULE, Server
from launches import Launch, launch
from torch import Tensor

from sinkscope import analyze
from sinkscope.analysis.measure import measure
from sinkscope.capture.scope import Scope
from sinkscope.capture.settings import Settings
from sinkscope.capture.statistics.gradient_statistics import MAX_BLOCKS, GradientBlocks
from sinkscope.errors import SinkscopeError
from sinkscope.launch.group import Processes
from sinkscope.tables.run_folder import Run, read_run
from sinkscope.vscale.attach import attach_
from sinkscope.vscale.saved import save

EARLY = 7
OPTIONS = ["--tokens", "24", "--sink-window", "8", "--early", str(EARLY), "--positions", "16"]
Command = Callable[..., list[str]]
SETTINGS = Settings(sink_window=8, early=EARLY, positions=16)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short documents, so that every window holds several."""
    path = tmp_path_factory.mktemp("text") / "text.jsonl"
    path.write_text("".join(json.dumps({"text": f"line {n} of {n * n}"}) + "\n" for n in range(40)))
    return path


@pytest.fixture(scope="module")
def command(text: Path) -> Command:
    """Makes command lines that analyze a model on the text."""

    def make(model: Path, out: Path, *arguments: str, epsilon: float = 0.3, sequences: int = 5) -> list[str]:
        sized = ["--sequences", str(sequences), "--sink-epsilon", str(epsilon), "--data", str(text)]
        return ["analyze", str(model), *OPTIONS, *sized, "--out", str(out), *arguments]

    return make


def alike(one: Run, several: Run) -> None:
    """Same rows, and floats that agree to 1e-5."""
    assert one.tables.keys() == several.tables.keys()
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(table, several[name], rtol=1e-5, atol=1e-9, obj=name)


def same(one: Run, other: Run) -> None:
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(table, other[name], check_exact=True, obj=name)


def lonely_sinks(model: Path, text: Path) -> float:
    """An epsilon that leaves one sink beyond the early columns."""
    run = analyze(model, data=str(text), sequences=5, tokens=24, settings=Settings(0.01, 8, EARLY, 16)).run
    return float(run["sinks"].query(f"position > {EARLY}")["alpha"].nlargest(2).mean())


@pytest.mark.slow
def test_two_processes_measure_what_one_does(
    forks: Server, tiny_folders: dict[str, Path], text: Path, command: Command, tmp_path: Path
) -> None:
    model, valved = tiny_folders["llama_gqa"], tmp_path / "valved"
    save(attach_(tiny.build("qwen3_gqa")), valved)
    tiny.tokenizer().save_pretrained(valved)
    epsilon = lonely_sinks(model, text)
    cases: dict[str, tuple[Path, list[str], float, int]] = {
        "uneven": (model, [], epsilon, 5),
        "apart": (valved, ["--isolate-documents", "--batch-size", "2", "--columns", "all"], 0.04, 9),
        "experts": (families.saved("gpt_oss", tmp_path / "experts"), [], 0.3, 5),
        "forward": (model, ["--no-backward", "--gradient-checkpointing"], epsilon, 5),
    }
    launches = [
        Launch(command(of, tmp_path / f"{name}-{count}", *more, epsilon=at, sequences=number), processes=count)
        for name, (of, more, at, number) in cases.items()
        for count in (1, 2)
    ]
    for one, ended in zip(launches, launch(forks, *launches), strict=True):
        assert ended.codes == [0] * one.processes, ended.err
        assert not any(ended.out[1:] + ended.err[1:])
    for name in cases:
        one, two = read_run(tmp_path / f"{name}-1"), read_run(tmp_path / f"{name}-2")
        assert (one.info["processes"], two.info["processes"]) == (1, 2)
        alike(one, two)
        assert one.info["data"] == two.info["data"]
    assert len(read_run(tmp_path / "uneven-2")["sinks"].query(f"position > {EARLY}")) == 1  # seen by one process alone
    assert not read_run(tmp_path / "uneven-2")["heads"]["mass"].isna().any()
    assert len(list(tmp_path.glob(".*"))) == 0


@pytest.mark.slow
def test_errors_end_all_processes_with_one_line(
    forks: Server, tiny_folders: dict[str, Path], command: Command, tmp_path: Path
) -> None:
    arguments = command(tiny_folders["llama_gqa"], tmp_path / "run", "--force")
    refused, crashed, killed, map_, missing, main_fails, typo = launch(
        forks,
        Launch(arguments, at=2, how="refuse", others_endless=True),
        Launch(arguments, at=1, how="crash", others_endless=True),
        Launch(arguments, at=2, how="kill"),
        Launch([*arguments, "--device-map", "auto"]),
        Launch(command(tmp_path / "nowhere", tmp_path / "none")),
        Launch(arguments, rank=0, at=1, how="refuse", others_endless=True),
        Launch([*arguments, "--sequences", "many"]),
    )

    def line(err: str) -> str:
        (said,) = (line for line in err.splitlines() if not line.startswith(("plan: ", "progress: ")))
        return said.strip()

    assert refused.codes == [2, 2]
    assert line(refused.err[0]) == "sinkscope: it is broken (process 1)"
    assert "sinkscope:" not in refused.err[1]
    assert crashed.codes == [1, 1]
    assert line(crashed.err[0]) == "sinkscope: TypeError: a bug (process 1)"
    assert "Traceback" in crashed.err[1]
    assert killed.codes == [1, -signal.SIGKILL]
    assert "another process ended" in line(killed.err[0])
    assert map_.codes == [2, 2]
    assert "--device-map spreads one model over all GPUs: it goes with one process" in line(map_.err[0])
    assert missing.codes == [1, 1]
    assert "there is no folder" in line(missing.err[0])
    assert main_fails.codes[0] == 2
    assert main_fails.codes[1] in (1, 2)  # 1 where the first process, which holds the store here, was gone too soon
    assert line(main_fails.err[0]) == "sinkscope: it is broken"
    assert typo.codes == [2, 2]
    assert "--sequences" in line(typo.err[0])
    for ended in (map_, missing, main_fails, typo):
        # Here the first process holds the store, and torch itself may warn that it is gone.
        assert not any([*ended.out, *("sinkscope:" in said for said in ended.err[1:])])
    assert not list(tmp_path.glob("[!.]*"))


@pytest.mark.slow
def test_killed_processes_resume_to_the_same_tables(
    forks: Server, tiny_folders: dict[str, Path], command: Command, tmp_path: Path
) -> None:
    model = tiny_folders["llama_gqa"]
    whole, cut = (command(model, tmp_path / name, epsilon=0.04, sequences=6) for name in ("whole", "cut"))
    uninterrupted, killed, again, other, resumed = launch(
        forks,
        Launch(whole),
        Launch(cut, rank=0, at=2),
        Launch([*cut, "--resume"], rank=0, at=2),
        Launch([*cut, "--resume"], processes=3),
        Launch([*cut, "--resume"]),
    )
    assert uninterrupted.codes == resumed.codes == [0, 0], resumed.err
    assert killed.codes == again.codes == [-signal.SIGKILL, 1]
    assert other.codes == [2] * 3
    assert "has another processes: resume with the same" in other.err[0]
    same(read_run(tmp_path / "whole"), read_run(tmp_path / "cut"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut", "whole"]


def launched(forks: Server, launcher: list[str], arguments: list[str]) -> tuple[int, str, str]:
    """What a launcher makes of whole `sinkscope` processes: its exit code, and what they wrote to stdout and stderr."""
    run = forks.start(MODULE, [*launcher, "-m", "sinkscope", *arguments])
    return run.wait(), run.out, run.err


@pytest.mark.slow
def test_torchrun_launches(forks: Server, tiny_folders: dict[str, Path], command: Command, tmp_path: Path) -> None:
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    code, out, err = launched(forks, launcher, command(tiny_folders["llama_gqa"], tmp_path / "run", "--json"))
    assert code == 0, err
    info = json.loads(out)  # of one process, and nothing else
    assert (info["processes"], info["data"]["sequences"]) == (2, 5)


@pytest.mark.slow
def test_accelerate_launches(forks: Server, tiny_folders: dict[str, Path], command: Command, tmp_path: Path) -> None:
    launcher = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0"]
    code, out, err = launched(forks, launcher, command(tiny_folders["llama_gqa"], tmp_path / "run", sequences=1))
    assert code == 1
    said = [line for line in err.splitlines() if line.startswith("sinkscope:")]
    assert said == ["sinkscope: 2 processes cannot share 1 sequences: launch fewer, or use more --sequences"]
    assert out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("sequences", "count"), [(5, 2), (7, 3), (4, 4), (33, 8)])
def test_shares_are_contiguous_and_even(sequences: int, count: int) -> None:
    shares = [range(sequences)[Processes(rank, count).share(sequences)] for rank in range(count)]
    assert [number for share in shares for number in share] == list(range(sequences))
    assert {len(share) for share in shares} <= {sequences // count, sequences // count + 1}


def test_more_processes_than_sequences_are_refused() -> None:
    with pytest.raises(SinkscopeError, match="3 processes cannot share 2 sequences"):
        Processes(0, 3).share(2)


@pytest.mark.parametrize("cuts", [(1, 99), (40, 41), (64, 80)])
def test_blocks_of_gradients_are_those_of_one_process(cuts: tuple[int, int]) -> None:
    grads = torch.randn(100, 3, 4, generator=torch.Generator().manual_seed(0))
    one, parts = GradientBlocks(3), []
    one.update(0, grads)
    for start, stop in zip((0, *cuts), (*cuts, 100), strict=True):
        part = GradientBlocks(3)
        for number in range(start, stop):
            part.update(number, grads[number : number + 1])
        parts.append(part)
    merged = parts[0]
    for part in parts[1:]:
        merged.merge(part)
    assert (merged.size, len(merged.sums)) == (one.size, len(one.sums))
    assert one.size * MAX_BLOCKS >= 100
    torch.testing.assert_close(merged.sums, one.sums)


def test_a_merge_of_recorders_is_the_recorder_of_all() -> None:
    model = tiny.build("llama_mha")
    ids = torch.randint(2, 258, (10, 24), generator=torch.Generator().manual_seed(0))

    def recorded(part: slice) -> Any:
        scope = Scope(model, SETTINGS, first_sequence=part.start)
        with scope:
            for sequence in ids[part]:
                shown: Tensor = sequence[None]
                model(input_ids=shown, labels=shown, use_cache=False).loss.backward()
        return scope

    one, merged, rest = recorded(slice(0, 10)), recorded(slice(0, 7)), recorded(slice(7, 10))
    merged.recorder.merge(rest.recorder.state())
    alike(one.run(), merged.run())
    scatter = merged.run()["scatter"]
    assert set(scatter["sequence"].dropna()) == set(range(8))  # the first of the run, also those of the second part
    whole = measure(model, ids, settings=SETTINGS, batch_size=1)
    np.testing.assert_allclose(whole["heads"]["alpha"], merged.run()["heads"]["alpha"], rtol=1e-6)
