"""`sinkscope plan` counts any model from its config alone, and chooses what fits the machine."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from transformers import AutoConfig

from sinkscope.capture.settings import Settings
from sinkscope.cli import main
from sinkscope.cli.plan_table import duration_text
from sinkscope.errors import SinkscopeError
from sinkscope.planning import estimate
from sinkscope.planning.choose import Choice, choose_driver, size
from sinkscope.planning.estimate import Work
from sinkscope.planning.machine import Gpu, Machine, _limit_left, this_machine
from sinkscope.planning.plan import plan
from sinkscope.planning.speed import duration, time_class

GIB = 2**30
SHALLOW = "the first eight layers of llama-3.1-8b"
LLAMA_31 = {"model_type": "llama", "vocab_size": 128256, "num_key_value_heads": 8, "torch_dtype": "bfloat16"}

# Shapes as the published configs have them, and parameters as the published weights count.
PUBLISHED: dict[str, tuple[int, dict[str, Any]]] = {
    "llama-3.1-8b": (
        8_030_261_248,
        {**LLAMA_31, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
         "num_attention_heads": 32},
    ),
    "llama-3.1-70b": (
        70_553_706_496,
        {**LLAMA_31, "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
         "num_attention_heads": 64},
    ),
    "llama-3.1-405b": (
        405_853_388_800,
        {**LLAMA_31, "hidden_size": 16384, "intermediate_size": 53248, "num_hidden_layers": 126,
         "num_attention_heads": 128},
    ),
    "llama-2-7b": (
        6_738_415_616,
        {"model_type": "llama", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008,
         "num_hidden_layers": 32, "num_attention_heads": 32, "torch_dtype": "float16"},
    ),
    "qwen2.5-7b": (
        7_615_616_512,
        {"model_type": "qwen2", "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944,
         "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "torch_dtype": "bfloat16"},
    ),
    "qwen2.5-0.5b": (
        494_032_768,
        {"model_type": "qwen2", "vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864,
         "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "tie_word_embeddings": True,
         "torch_dtype": "bfloat16"},
    ),
    "mixtral-8x7b": (
        46_702_792_704,
        {"model_type": "mixtral", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336,
         "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8,
         "num_experts_per_tok": 2, "torch_dtype": "bfloat16"},
    ),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Makes a folder that holds a config.json and nothing else."""

    def make(config: dict[str, Any]) -> Path:
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return tmp_path

    return make


def machine(memory: float, *, disk: float = 1000, gpu: float | None = None) -> Machine:
    """A machine with so many GiB free."""
    gpus = () if gpu is None else (Gpu("cuda:0", "a GPU", int(gpu * GIB), int(gpu * GIB)),)
    return Machine(int(memory * GIB), False, 8, gpus, int(disk * GIB), "/somewhere")


def chosen(name: str, on: Machine, **options: Any) -> Choice:
    values = {**(PUBLISHED["llama-3.1-8b"][1] | {"num_hidden_layers": 8} if name == SHALLOW else PUBLISHED[name][1])}
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    return choose_driver(config, **{"tokens": 512, "sequences": 4, "machine": on, **options})


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_the_published_ones(
    name: str, folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    total, config = PUBLISHED[name]
    assert main(["plan", str(folder(config)), "--json", "--device", "cpu"]) == 0
    plan = json.loads(capsys.readouterr().out)
    parts = plan["parameters"]
    assert parts["total"] == total
    assert parts["embedding"] == config["vocab_size"] * config["hidden_size"] == parts["head"]
    assert parts["layers"] * parts["largest_layer"] + config["hidden_size"] == total - parts["embedding"] * (
        1 if parts["tied"] else 2
    )
    assert plan["weights_bytes"]["total"] == 2 * total
    assert plan["drivers"]["resident"]["weights"] == 2 * total
    assert plan["drivers"]["streamed"]["weights"] < 2 * total
    assert plan["model"]["supported"] or "not supported" in plan["warnings"][0]


def test_experts_that_a_token_skips_are_not_active() -> None:
    parameters = chosen("mixtral-8x7b", machine(1000)).parameters
    expert = 3 * 4096 * 14336
    table = 32000 * 4096
    assert parameters.active == parameters.total.parameters - table - 32 * 6 * expert


def test_the_fastest_driver_that_fits_is_chosen() -> None:
    bytes_ = chosen(SHALLOW, machine(1000)).bytes
    assert bytes_["streamed"] < bytes_["layer by layer"] < bytes_["resident"]
    for driver, needed in bytes_.items():
        assert chosen(SHALLOW, machine(needed / GIB / 0.9 * 1.001)).driver == driver
    spilled = chosen(SHALLOW, machine(bytes_["streamed"] / GIB / 0.9 * 0.98))
    assert (spilled.driver, spilled.spill, spilled.fits) == ("streamed", True, True)
    nowhere = chosen(SHALLOW, machine(bytes_["streamed"] / GIB / 0.9 * 0.98, disk=0.01))
    assert (nowhere.driver, nowhere.fits) == ("streamed", False)
    assert "fewer `sequences`" in nowhere.reason
    tiny_machine = chosen(SHALLOW, machine(0.5))
    assert not tiny_machine.fits
    assert "fewer `tokens`" in tiny_machine.reason


def test_a_gpu_holds_the_computation_and_memory_the_states() -> None:
    resident = chosen(SHALLOW, machine(1, gpu=80))
    assert (resident.driver, resident.device) == ("resident", "cuda:0")
    need = resident.needs["layer by layer"]
    room = (need.computing * 1.001 / 0.9) / GIB
    assert chosen(SHALLOW, machine(64, gpu=room)).driver == "layer by layer"
    without_memory = chosen(SHALLOW, machine(need.boundary * 0.9 / GIB, gpu=room))
    assert (without_memory.driver, without_memory.spill) == ("layer by layer", True)
    assert chosen(SHALLOW, machine(64, gpu=80), device="cpu").device == "cpu"
    with pytest.raises(SinkscopeError, match="no device cuda:3"):
        chosen(SHALLOW, machine(64, gpu=80), device="cuda:3")


def test_quantized_weights_are_smaller_and_the_head_is_not_quantized() -> None:
    plain, nf4, int8 = (
        chosen("llama-3.1-8b", machine(1000), quantize=quantize).parameters for quantize in (None, "nf4", "int8")
    )
    tables = 2 * 128256 * 4096
    linear = 32 * 4096 * (4096 + 1024 + 1024 + 4096 + 3 * 14336)
    norms = 65 * 4096
    assert plain.total.bytes == 2 * (tables + linear + norms)
    assert nf4.total.bytes == 2 * (tables + norms) + linear // 2 + 4 * (linear // 64)
    rows = 32 * (4096 + 1024 + 1024 + 4096 + 2 * 14336 + 4096)
    assert int8.total.bytes == 2 * (tables + norms) + linear + 4 * rows
    assert nf4.head == plain.head
    assert nf4.total.stored == plain.total.bytes


def test_tokens_and_sequences_move_what_they_should() -> None:
    base = chosen("qwen2.5-0.5b", machine(1000)).needs
    longer = chosen("qwen2.5-0.5b", machine(1000), tokens=1024).needs
    more = chosen("qwen2.5-0.5b", machine(1000), sequences=8).needs
    batched = chosen("qwen2.5-0.5b", machine(1000), batch_size=2).needs
    forward = chosen("qwen2.5-0.5b", machine(1000), settings=Settings(backward=False)).needs
    assert longer["resident"].activations == pytest.approx(2 * base["resident"].activations, rel=0.15)
    assert more["resident"].activations == base["resident"].activations
    assert more["layer by layer"].boundary == pytest.approx(2 * base["layer by layer"].boundary, rel=0.01)
    assert batched["layer by layer"].boundary == pytest.approx(base["layer by layer"].boundary, rel=0.01)
    assert batched["resident"].activations > 1.6 * base["resident"].activations
    assert forward["layer by layer"].boundary < base["layer by layer"].boundary / 5
    assert forward["resident"].activations < base["resident"].activations


def test_an_architecture_that_cannot_be_followed_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    followed = chosen(SHALLOW, machine(1000))

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("Tensor.item() cannot be called on meta tensors\nand more")

    monkeypatch.setattr(estimate, "trace", fail)
    bounded = chosen(SHALLOW, machine(1000))
    assert "rough bound" in bounded.warnings[0]
    assert "Tensor.item()" in bounded.warnings[0]
    assert 1 < bounded.bytes["resident"] / followed.bytes["resident"] < 3
    assert 1 < bounded.needs["streamed"].computing / followed.needs["streamed"].computing < 3


@pytest.mark.parametrize(
    ("model_type", "values"),
    [
        ("falcon", {"num_attention_heads": 4}),  # calls torch's attention itself
        ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4}),
        ("gpt_oss", {"head_dim": 8, "num_local_experts": 4, "num_attention_heads": 4, "num_key_value_heads": 2}),
        # values narrower than queries
        ("deepseek_v3", {"q_lora_rank": 16, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8,
                         "v_head_dim": 8, "n_routed_experts": 8, "n_group": 2, "topk_group": 1,
                         "num_experts_per_tok": 2, "moe_intermediate_size": 16, "num_attention_heads": 4}),
    ],
)  # fmt: skip
def test_architectures_of_many_kinds_are_followed(model_type: str, values: dict[str, Any]) -> None:
    config = AutoConfig.for_model(
        model_type, **{"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, **values}
    )
    choice = choose_driver(config, tokens=4096, sequences=2, dtype="bfloat16", machine=machine(100))
    assert choice.warnings == ()
    assert choice.parameters.layers == 2
    doubled = choose_driver(config, tokens=8192, sequences=2, dtype="bfloat16", machine=machine(100))
    growth = doubled.trace.saved / choice.trace.saved
    assert growth < (
        4 if model_type == "falcon" else 2.1
    )  # falcon's mask is T x T here; nobody else keeps such a tensor


def test_time_grows_with_work_and_has_a_class() -> None:
    choice = chosen(SHALLOW, machine(1000))
    work = Work(4, 512, 1, Settings())
    time = duration(choice, work, rate=1e12)
    products = 2 * choice.parameters.active * 2048
    assert time.flops == pytest.approx(2 * products, rel=0.02)
    assert time.reading == 0
    streamed = duration(replace(choice, driver="streamed"), work, rate=1e12)
    assert streamed.computing == pytest.approx(1.5 * time.computing)
    assert streamed.reading == pytest.approx(2 * choice.parameters.total.bytes / 5e8)
    assert [time_class(s) for s in (1, 61, 3601, 90000)] == ["seconds", "minutes", "hours", "days"]
    assert [duration_text(s) for s in (0.123, 5.0, 90, 7200, 200000)] == ["0.12 s", "5 s", "1.5 min", "2 h", "2.3 d"]


def test_free_memory_is_below_a_control_groups_limit(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    group = tmp_path / "root" / "above" / "own"
    group.mkdir(parents=True)
    membership.write_text("0::/above/own\n")
    assert _limit_left(tmp_path / "root", membership) is None
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("500\n")
    assert _limit_left(tmp_path / "root", membership) is None
    (group.parent / "memory.max").write_text("3000\n")
    (group.parent / "memory.current").write_text("1200\n")
    (group.parent / "memory.stat").write_text("anon 1000\ninactive_file 200\n")
    assert _limit_left(tmp_path / "root", membership) == 2000
    (group / "memory.max").write_text("1500\n")
    assert _limit_left(tmp_path / "root", membership) == 1000
    old = tmp_path / "root" / "memory"
    old.mkdir()
    membership.write_text("4:cpu,memory:/not/mounted\n1:cpu:/\n")
    (old / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (old / "memory.usage_in_bytes").write_text("10\n")
    assert _limit_left(tmp_path / "root", membership) is None
    (old / "memory.limit_in_bytes").write_text("100\n")
    assert _limit_left(tmp_path / "root", membership) == 90


def test_this_machine_has_something_free(tmp_path: Path) -> None:
    found = this_machine(tmp_path / "not" / "there" / "yet")
    assert found.memory > 0
    assert found.cores >= 1
    assert found.disk > 0
    assert found.disk_folder == str(tmp_path)


def test_the_table_says_it_all(tiny_folders: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(tiny_folders["llama_gqa"]), "--tokens", "32", "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    parameters = sum(p.numel() for p in tiny.build("llama_gqa").parameters())
    assert f"{parameters:,}" in shown
    for word in ("resident", "layer by layer", "streamed", "free", "driver: resident", "time: seconds"):
        assert word in shown


def test_the_packaged_models_can_be_planned(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("demo", "demo-vscale"):
        assert main(["plan", name, "--json", "--device", "cpu"]) == 0
        assert json.loads(capsys.readouterr().out)["tokens"] == 256


@pytest.mark.parametrize(
    ("config", "arguments", "complaint", "code"),
    [
        ({"model_type": "no_such_type"}, [], "cannot read its config.json", 1),
        ({"hidden_size": 8}, [], "'model_type' is missing", 1),
        ({"model_type": "llama", "hidden_size": 30, "num_attention_heads": 4}, [], "", 1),
        ({"model_type": "vit"}, [], "makes no causal LM", 1),
        (PUBLISHED["llama-2-7b"][1], ["--dtype", "int3"], "--dtype is one of", 2),
        (PUBLISHED["llama-2-7b"][1], ["--quantize", "int3"], "there is no method int3 for --quantize", 2),
        (PUBLISHED["llama-2-7b"][1], ["--tokens", "1"], "at least 2 tokens", 2),
        (PUBLISHED["llama-2-7b"][1], ["--sequences", "0"], "at least 1", 2),
        (PUBLISHED["llama-2-7b"][1], ["--device", "cuda:7"], "no device cuda:7", 2),
        (PUBLISHED["llama-2-7b"][1], ["--revision", "main"], "--revision is for models of the", 2),
    ],
)
def test_bad_input_ends_as_one_line(
    config: dict[str, Any],
    arguments: list[str],
    complaint: str,
    code: int,
    folder: Callable[..., Path],
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(["plan", str(folder(config)), *arguments]) == code
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("sinkscope: ")
    assert printed.err.count("\n") == 1
    assert complaint in printed.err


@pytest.mark.parametrize(
    ("method", "like", "said"),
    [
        ("w4", None, ()),
        ("w8a8-static", None, ("w8a8-static calibrates first",)),
        ("torchao-int8", "int8", ("no gradient passes through torchao-int8: analyze will refuse it without --no-bac",)),
        ("smoothquant", None, ("no gradient passes", "smoothquant calibrates first")),
    ],
)
def test_a_method_is_planned_as_memory_holds_it(
    method: str,
    like: str | None,
    said: tuple[str, ...],
    folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = str(folder(PUBLISHED["qwen2.5-0.5b"][1]))
    assert main(["plan", path, "--device", "cpu", "--quantize", method]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"bfloat16, {method}" in shown
    assert all(sentence in shown for sentence in said)

    def planned(quantize: str | None) -> dict[str, Any]:
        return plan(path, device="cpu", tokens=64, sequences=1, quantize=quantize).as_json()

    assert planned(method)["weights_bytes"] == planned(like)["weights_bytes"]
    assert planned(method)["model"]["quantization"] == method
    assert planned("none")["model"]["quantization"] is None


def test_missing_models_are_named(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["plan", str(tmp_path / "nothing")]) == 1
    assert "there is no folder" in capfd.readouterr().err
    assert main(["plan", str(tmp_path)]) == 1
    assert "no config.json" in capfd.readouterr().err
    assert main(["plan", "owner/model"]) == 1
    assert "not in the local cache" in capfd.readouterr().err


def test_a_longer_text_than_the_context_is_a_warning(
    folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder({**PUBLISHED["llama-2-7b"][1], "max_position_embeddings": 4096})
    assert main(["plan", str(path), "--tokens", "5000", "--json", "--device", "cpu"]) == 0
    assert "exceed the model's context of 4096" in json.loads(capsys.readouterr().out)["warnings"][0]


@pytest.mark.parametrize(
    ("described", "bytes_per_weight"),
    [
        ({"quant_method": "gptq", "bits": 4}, 0.5625),
        ({"quant_method": "fp8"}, 1),
        ({"quant_method": "something"}, 2),
    ],
)
def test_quantized_checkpoints_are_counted_by_their_bits(
    described: dict[str, Any], bytes_per_weight: float, folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder({**PUBLISHED["llama-3.1-8b"][1], "num_hidden_layers": 4, "quantization_config": described})
    assert main(["plan", str(path), "--json", "--device", "cpu"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["model"]["quantization"] == described["quant_method"]
    assert plan["weights_bytes"]["largest_layer"] / plan["parameters"]["largest_layer"] == pytest.approx(
        bytes_per_weight, rel=0.01
    )
    assert any("counted unquantized" in warning for warning in plan["warnings"]) == (bytes_per_weight == 2)


def test_sizes_are_said_as_people_say_them() -> None:
    assert [size(n) for n in (0, 2048, 3 * 2**20, 1.5 * GIB, 1000 * GIB)] == [
        "0 B",
        "2 KiB",
        "3 MiB",
        "1.5 GiB",
        "1,000 GiB",
    ]


def test_a_plan_is_shown_in_a_line_and_in_a_notebook() -> None:
    made = plan("demo", sequences=2, tokens=32)
    assert repr(made).startswith("<Plan: demo, 2 x 32 tokens: ")
    assert len(repr(made)) < 160
    html = made._repr_html_()
    assert all(f">{driver}<" in html for driver in made.choice.needs)
    assert made.choice.reason.replace("'", "&#x27;").replace(">", "&gt;").replace("<", "&lt;") in html
