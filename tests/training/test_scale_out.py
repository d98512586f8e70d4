"""Several processes train what one does: the same losses, whether the model is replicated or sharded."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from accelerate.commands.config.config_args import load_config_from_file
from forks import SINKSCOPE, Server
from safetensors.torch import load_file

from sinkscope.errors import SinkscopeError
from sinkscope.training.engine import make_accelerator, shares
from sinkscope.training.recipe import OptimizerConfig

ROOT = Path(__file__).parents[2]
STEPS = 20
# In float32: 16 bits round a batch as it is cut, and processes cut it otherwise.
SETTINGS = {
    "compile": "false",
    "data.valid_sequences": "16",
    "precision": "float32",
}
MINI = ["mini", "--steps", str(STEPS), *(part for key in SETTINGS for part in ("--set", f"{key}={SETTINGS[key]}"))]
SHARDED = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


Pretrain = Callable[..., str]


@pytest.fixture(scope="module")
def pretrain(forks: Server, tmp_path_factory: pytest.TempPathFactory) -> Pretrain:
    """Runs `sinkscope pretrain` in processes of its own and returns what they said; all runs share one text."""
    tokens = tmp_path_factory.mktemp("text") / "tokens"

    def run(out: Path, *arguments: str, processes: int, environment: dict[str, str] | None = None) -> str:
        command = ["pretrain", *arguments, "--out", str(out), "--tokens-dir", str(tokens)]
        if processes > 1:
            started = forks.start_group(SINKSCOPE, lambda _: [command], processes, environment)
        else:
            started = [forks.start(SINKSCOPE, command, environment=environment)]
        for process in started:
            assert process.wait() == 0, process.err
        return "".join(process.err + process.out for process in started)

    return run


def losses(out: Path) -> list[float]:
    return pd.read_parquet(out / "metrics.parquet")["loss"].tolist()


@pytest.mark.slow
def test_two_processes_agree_with_one(pretrain: Pretrain, tmp_path: Path) -> None:
    # Passes of equal size, so that bfloat16 rounds alike: what is compared is how gradients are put together.
    micro = ["--set", "optimizer.micro_sequences=8"]
    said = pretrain(tmp_path / "one", *MINI, *micro, processes=1)
    assert "one process on cpu" in said
    said = pretrain(tmp_path / "two", *MINI, *micro, processes=2)
    assert "2 processes, parameters replicated" in said
    assert said.count(f"model: {tmp_path / 'two'}") == 1
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-4)
    assert losses(tmp_path / "two")[-1] < losses(tmp_path / "two")[0] - 0.05


@pytest.mark.slow
def test_sharded_processes_agree_with_one_and_resume(pretrain: Pretrain, tmp_path: Path) -> None:
    alone, out = tmp_path / "alone", tmp_path / "sharded"
    arguments = [*MINI, "--set", "precision=float32", "--set", "checkpoint.every=8"]
    pretrain(alone, *arguments, processes=1)
    said = pretrain(out, *arguments, processes=2, environment=SHARDED)
    assert "2 processes, parameters sharded (FSDP2)" in said
    assert losses(out) == pytest.approx(losses(alone), abs=1e-4)
    whole = load_file(out / "model" / "model.safetensors")
    (out / "model" / "model.safetensors").unlink()
    (out / "model").rename(out / ".gone")
    said = pretrain(out, *arguments, "--resume", processes=2, environment=SHARDED)
    assert "from step 16" in said
    resumed = load_file(out / "model" / "model.safetensors")
    assert whole.keys() == resumed.keys()
    assert max(float((whole[name] - resumed[name]).abs().max()) for name in whole) < 1e-6


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    assert shares(OptimizerConfig(lr=1.0, batch_sequences=12, micro_sequences=3), 2) == (6, 3)
    with pytest.raises(SinkscopeError, match="batch of 12 windows cannot be shared equally by 5 processes"):
        shares(OptimizerConfig(lr=1.0, batch_sequences=12), 5)
    with pytest.raises(SinkscopeError, match="does not divide the 6 windows"):
        shares(OptimizerConfig(lr=1.0, batch_sequences=12, micro_sequences=4), 2)


def test_deepspeed_without_a_gpu_is_refused_and_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(SinkscopeError, match="DeepSpeed needs a GPU"):
        make_accelerator(precision="float32", device="cpu")


@pytest.mark.parametrize("path", sorted((ROOT / "recipes" / "accelerate").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_are_what_accelerate_reads(path: Path) -> None:
    config = load_config_from_file(str(path))
    assert config.num_processes == 8
    expected = {"ddp": "MULTI_GPU", "fsdp2": "FSDP", "zero2": "DEEPSPEED"}
    assert config.distributed_type == expected[path.stem]
