"""Rows of architectures: every one has a tiny model, carries V-scale, and says what does not apply to it."""

import ast
import json
from pathlib import Path

import families
import pytest
import torch
from reference.blocks import Block, block_of, granite, layers_of, pre_norm
from transformers import AutoConfig, AutoModelForCausalLM, FalconConfig, PreTrainedModel

import sinkscope
from sinkscope import Settings
from sinkscope.cli import main
from sinkscope.comparison.compare_runs import compare_runs
from sinkscope.errors import SinkscopeError
from sinkscope.loading.load import load_model
from sinkscope.methods.library.llmcompressor import check_awq
from sinkscope.models.families import FAMILIES, Case, Family, family_of
from sinkscope.models.layout import layout_of, not_applicable
from sinkscope.models.shape import shape_of
from sinkscope.report.analysis.terminal import summary
from sinkscope.report.render import entries, figures
from sinkscope.sites import Site
from sinkscope.vscale import attach_, attached, detach_

PACKAGE = Path(sinkscope.__file__).parent
IDS = torch.randint(4, 250, (2, 20), generator=torch.Generator().manual_seed(0))
SETTINGS = Settings(sink_epsilon=0.25, sink_window=8, early=5, positions=8)


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS, use_cache=False).logits


def test_every_row_has_a_tiny_model_and_every_case_one_too() -> None:
    of_text = {row.model_type for row in FAMILIES.values() if not row.images}  # the others have tests of their own
    assert {row.model_type for row in families.TINY.values()} == of_text
    resolved = [family_of(families.tiny(name)) for name in families.TINY]
    for family in FAMILIES.values():
        for case in family.cases:
            found = [row for row in resolved if row.model_type == family.model_type]
            changed = any(all(getattr(row, field) == value for field, value in case.then.items()) for row in found)
            assert case.refused or changed, (family.model_type, case.when)


@pytest.mark.parametrize("name", families.TINY)
def test_vscale_attaches_trains_and_comes_off(name: str) -> None:
    """One step changes theta and weights; without the step, what is left is bit-identical to before."""
    model = families.tiny(name)
    bare, names = logits(model), set(model.state_dict())
    attach_(model)
    valves = attached(model)
    assert [len(valve.theta) for valve in valves] == [shape_of(family_of(model), model.config).kv_heads] * 3
    assert not torch.allclose(logits(model), bare, atol=1e-4)
    detach_(model)
    assert set(model.state_dict()) == names
    assert torch.equal(logits(model), bare)
    attach_(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    before = model(input_ids=IDS, labels=IDS, use_cache=False).loss
    before.backward()
    optimizer.step()
    assert all(bool((valve.theta != 0).all()) for valve in attached(model))
    assert float(model(input_ids=IDS, labels=IDS, use_cache=False).loss.detach()) < float(before.detach())


@pytest.mark.parametrize("name", ["llama_gqa", "gemma2", "phi3", "gpt2", "opt", "falcon_two_norms"])
def test_valved_values_are_what_the_tap_aggregates(name: str) -> None:
    """The same logits with the tap on; scaled norms below the raw ones, by phi."""
    model = attach_(families.tiny(name))
    expected = logits(model)
    with sinkscope.Scope(model, Settings(backward=False, sink_window=8)) as scope:
        torch.testing.assert_close(logits(model), expected, rtol=1e-4, atol=1e-5)
    values = scope.run()["values"]
    assert (values["norm_scaled"] < values["norm"]).all()


@pytest.mark.parametrize(
    ("name", "absent", "words"),
    [
        ("olmo2", {"hn", "hn2"}, "`olmo2` normalizes branch outputs"),
        ("gpt_neox", {"h_half"}, "both branches read h_in"),
        ("falcon_one_norm", {"h_half"}, "both branches read h_in"),
        ("opt_stream_norm", {"hn", "hn2", "final_in"}, "normalizes the residual stream itself"),
        ("gemma2", set(), ""),
    ],
)
def test_what_does_not_apply_is_absent_and_said(name: str, absent: set[str], words: str) -> None:
    analysis = sinkscope.analyze(families.tiny(name), input_ids=IDS, settings=SETTINGS)
    assert set(Site) - set(analysis.positions["site"]) == absent
    assert set(Site) - set(analysis.sites["site"]) == absent
    said = analysis.info["not_applicable"]
    assert absent <= set(said)
    assert words in " ".join(said.values())
    assert words in str(summary(analysis.run)).replace("\n", " ")
    normed = "hn" not in absent
    assert ("branches" in said, "gradient_sink_ratio" in said, "compress_mlp" in said) == (not normed,) * 3
    assert analysis.branches.empty is analysis.gradient_blocks.empty is (not normed)
    assert (analysis.headline["gradient_sink_median"] is None) is (not normed)
    assert analysis.headline["bound_violations"] == 0
    pages = {entry.name for entry in entries(analysis.run)}
    assert ({"reshaping", "gradient_sink"} <= pages) is normed
    assert {"verdict", "token_norms", "bounds", "pathways"} <= pages


@pytest.mark.parametrize(("one", "other"), [("olmo2", "llama_gqa"), ("gpt_neox", "opt_stream_norm")])
def test_models_of_other_structures_compare(one: str, other: str) -> None:
    runs = [sinkscope.analyze(families.tiny(name), input_ids=IDS, settings=SETTINGS).run for name in (one, other)]
    compared = compare_runs(runs, [one, other])
    assert len(compared["comparison"])
    assert figures(runs[0])
    assert figures(compared)


def test_branch_gradients_of_a_shared_norm_are_each_branchs_own() -> None:
    """Their sum is the gradient at the norm's output, which the model itself has."""
    model, kept = families.tiny("falcon_one_norm"), []
    block = model.transformer.h[1]
    with sinkscope.Scope(model, SETTINGS) as scope:
        handle = block.input_layernorm.register_forward_hook(lambda _, __, output: kept.append(output))
        loss = model(input_ids=IDS, labels=IDS, use_cache=False).loss
        kept[0].retain_grad()
        loss.backward()
        handle.remove()
    sums = [scope.recorder.gradients[1, site].total for site in (Site.HN, Site.HN2)]
    assert all(float(part.norm()) > 0 for part in sums)
    torch.testing.assert_close(sums[0] + sums[1], kept[0].grad[:, :16].sum(0), rtol=1e-4, atol=1e-6)


def test_alibi_is_refused_by_name(tmp_path: Path) -> None:
    config = FalconConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, alibi=True)
    with pytest.raises(SinkscopeError, match="'falcon' with alibi=True is not supported: ALiBi"):
        sinkscope.Scope(AutoModelForCausalLM.from_config(config))
    config.save_pretrained(tmp_path)
    with pytest.raises(SinkscopeError, match="alibi"):
        load_model(str(tmp_path))


def test_attention_that_cannot_be_followed_is_refused() -> None:
    row = families.TINY["falcon_one_norm"]
    config = AutoConfig.for_model("falcon", **{**row.changes, "vocab_size": 64, "hidden_size": 16,
                                               "num_hidden_layers": 1, "num_attention_heads": 2})  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with pytest.raises(SinkscopeError, match="only as 'sdpa', not as 'eager'"), sinkscope.Scope(model):
        pass
    with pytest.raises(SinkscopeError, match="only as 'sdpa'"):
        attach_(model)


@pytest.mark.parametrize("name", ["opt", "falcon_one_norm"])
def test_documents_that_would_attend_across_are_refused(name: str) -> None:
    documents = torch.zeros_like(IDS)
    documents[:, 10:] = 1
    with pytest.raises(SinkscopeError, match="`isolate_documents`"):
        sinkscope.analyze(families.tiny(name), input_ids=IDS, document_ids=documents, isolate_documents=True)


@pytest.mark.parametrize("name", [name for name, row in families.TINY.items() if FAMILIES[row.model_type].isolates])
def test_other_documents_change_nothing_where_documents_are_kept_apart(name: str) -> None:
    """What `Family.isolates` says, held on every row."""
    model = families.tiny(name)
    positions = torch.cat([torch.arange(10), torch.arange(10)])[None]
    same_second = torch.cat([IDS[1:, :10], IDS[:1, 10:]], dim=1)
    with torch.no_grad():
        one, other = (
            model(input_ids=ids, position_ids=positions, use_cache=False).logits for ids in (IDS[:1], same_second)
        )
    assert not torch.allclose(one[:, :10], other[:, :10], atol=1e-2)
    torch.testing.assert_close(one[:, 10:], other[:, 10:], rtol=1e-4, atol=1e-5)


def test_dropout_that_no_module_applies_is_refused_in_training() -> None:
    model = families.tiny("opt", dropout=0.1).train()
    with pytest.raises(SinkscopeError, match="dropout is on"), sinkscope.Scope(model, SETTINGS):
        model(input_ids=IDS, use_cache=False)


def test_no_code_outside_the_rows_asks_for_a_model_type() -> None:
    """Rows say what is particular; nothing compares `model_type`, or looks an architecture's name up, anywhere else."""
    names = {*FAMILIES}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name in ("families.py", "family.py") and path.parent.name == "models":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Compare):
                continue
            sides = [node.left, *node.comparators]
            literals = {leaf.value for side in sides for leaf in ast.walk(side) if isinstance(leaf, ast.Constant)}
            assert not (literals & names and "type" in ast.unparse(node)), f"{path}:{node.lineno}"
            reads = any(ast.unparse(side).rstrip("']").endswith(("model_type", "family")) for side in sides)
            assert not (reads and any(isinstance(value, str) for value in literals)), f"{path}:{node.lineno}"


def test_a_made_up_architecture_is_one_row() -> None:
    """docs/architectures.md, its example run as it stands."""
    text = (PACKAGE.parent / "docs" / "architectures.md").read_text(encoding="utf-8")
    (code,) = [block.split("```", 1)[0] for block in text.split("```python\n")[1:] if 'FAMILIES["toy"]' in block]
    before = dict(FAMILIES)
    try:
        exec(compile(code, "docs/architectures.md", "exec"), {})  # noqa: S102
        assert set(FAMILIES) - set(before)
    finally:
        FAMILIES.clear()
        FAMILIES.update(before)


def test_later_cases_stand_over_earlier_ones_and_a_refused_one_over_all() -> None:
    row = Family(
        "made_up", cases=(Case({"a": True}, {"parallel": True}), Case({"a": True, "b": 1}, {"parallel": False}))
    )
    assert row.resolved({"a": True}).parallel
    assert not row.resolved({"a": True, "b": 1}).parallel
    assert row.resolved({"a": True}).cases == ()
    with pytest.raises(SinkscopeError, match="'made_up' with a=True is not supported: because"):
        Family("made_up", cases=(Case({"a": True}, refused="because"),)).check({"a": True})


def test_listing_names_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["families", "--json"]) == 0
    entries = {entry["model_type"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert set(entries) == set(FAMILIES)
    assert [one["structure"] for one in entries["falcon"]["structures"]] == [
        "pre-norm", "pre-norm, parallel, one norm", "pre-norm, parallel",
    ]  # fmt: skip
    assert entries["opt"]["structures"][1] == {"structure": "stream-norm", "when": {"do_layer_norm_before": False}}
    assert main(["families"]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in FAMILIES)
    assert max(len(line) for line in table.splitlines()) <= 140


_MOVED = {
    *("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
    *("input_layernorm", "post_attention_layernorm"),
}


def built_as_llama(model: PreTrainedModel) -> bool:
    """Whether the reference computes its layers as Llama's, from modules of the same names, with plain RMS norms."""
    for layer in layers_of(model):
        kinds = {path: type(part).__name__ for path, part in layer.named_modules()}
        if block_of(layer) not in (Block(pre_norm), Block(granite)) or not kinds.keys() >= _MOVED:
            return False
        if not kinds["input_layernorm"].endswith("RMSNorm") or kinds["input_layernorm"].startswith("Gemma"):
            return False
    return True


@pytest.mark.parametrize("name", families.TINY)
def test_awq_with_vscale_moves_factors_only_where_it_knows_the_way(name: str) -> None:
    """The modules that `oneshot.py` names are there, apart from each other, and mean what Llama's mean."""
    model = families.tiny(name)
    if built_as_llama(model):
        check_awq(family_of(model))
        return
    with pytest.raises(SinkscopeError, match="awq with V-scale"):
        check_awq(family_of(model))


def test_some_families_are_built_as_llama_and_some_are_not() -> None:
    alike = {
        name: built_as_llama(families.tiny(name)) for name in ("llama_gqa", "qwen3", "gemma", "glm", "mixtral", "phi")
    }
    assert alike == {"llama_gqa": True, "qwen3": True, "gemma": False, "glm": False, "mixtral": False, "phi": False}


def test_layout_of_a_plain_row_has_every_site() -> None:
    assert layout_of(Family("llama")).absent == frozenset()
    assert not_applicable(Family("llama")) == {}
