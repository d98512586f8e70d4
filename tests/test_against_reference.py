"""Every table of an analysis equals an independent, slow reference: other attention, other hooks, explicit loops."""

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from reference import Measured, measure, reference_tables
from reference.agree import assert_agree, assert_pairs
from reference.bounds import scatter_pairs
from reference.eager import Keeping, cut
from reference.gradients import gradient_sink_ratio
from reference.models import FAMILIES, LLAMAS, STRUCTURES, padded, tiny, tokens
from torch import nn

import sinkscope
from sinkscope import Scope, Settings
from sinkscope.errors import RequestError
from sinkscope.tables.run_folder import Run

LENGTH = 30
EARLY = Settings(sink_epsilon=0.25, sink_window=8, early=5, positions=12)
ALL = Settings(sink_epsilon=0.25, sink_window=8, early=5, positions=12, columns="all")


def check(run: Run, measured: Measured, settings: Settings, passes: list[list[int]] | None = None) -> None:
    """Compares every table.

    Args:
        run: what was measured.
        measured: the reference's tensors.
        settings: what was asked for.
        passes: for a Scope, which sequences it saw at once. It sees nothing twice, so a late sink has no column sums
            where an earlier pass did not have to look; nor does it know the losses.
    """
    tables = reference_tables(measured, settings)
    if passes is not None:
        tables["sequences"] = tables["sequences"][~tables["sequences"]["metric"].isin(["loss", "targets"])]
        if settings.columns == "early":
            unseen = unseen_columns(tables, measured, settings, passes)
            place = ["layer", "head", "position"]
            missing = run["heads"][[*place, "mass"]].merge(tables["heads"][place], how="right", on=place)["mass"].isna()
            tables["heads"].loc[unseen & missing.to_numpy(), ["mass", "second_moment"]] = np.nan
    assert_agree(run, tables)
    assert_pairs(run["scatter"], scatter_pairs(measured, settings), relative=1e-4, of_largest=1e-6)


def unseen_columns(
    tables: dict[str, pd.DataFrame], measured: Measured, settings: Settings, passes: list[list[int]]
) -> pd.Series:
    """Which rows of `heads` are at late positions that some pass had, but without a sink of any head there.

    Their column sums may be missing; where a pass expected late sinks and took all columns, they are there and right.
    """
    sinks = tables["sinks"]
    unseen = pd.Series(False, index=tables["heads"].index)
    for index, row in tables["heads"].iterrows():
        if row["position"] <= settings.early:
            continue
        here = sinks[(sinks["layer"] == row["layer"]) & (sinks["position"] == row["position"])]
        for members in passes:
            has_position = any(len(measured.sequences[n]) > row["position"] for n in members)
            if has_position and not here["sequence"].isin(members).any():
                unseen[index] = True
    return unseen


@pytest.mark.parametrize(
    ("family", "settings"),
    [*(pytest.param(name, EARLY, id=name) for name in FAMILIES),
     *(pytest.param(name, ALL, id=f"{name}-all") for name in LLAMAS)],
)  # fmt: skip
def test_packed_windows_of_every_family(family: str, settings: Settings) -> None:
    model, ids = tiny(family), tokens(5 if family in LLAMAS else 3, LENGTH)
    measured = measure(model, ids)
    tables = reference_tables(measured, settings)
    assert (tables["sinks"]["position"] > settings.early).any() or family not in LLAMAS
    assert len(tables["sinks"]) > 0
    assert tables["layers"]["sink_rate"].between(0.01, 0.99).any()
    analysis = sinkscope.analyze(model, input_ids=ids, batch_size=2, settings=settings)
    check(analysis.run, measured, settings)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_batch_size_changes_no_number(batch_size: int) -> None:
    model, ids = tiny("llama_gqa"), tokens(9, LENGTH)
    analysis = sinkscope.analyze(model, input_ids=ids, batch_size=batch_size, settings=EARLY)
    check(analysis.run, measure(model, ids, batch_size=4), EARLY)


def test_massive_activations_beyond_the_largest_eight() -> None:
    model, ids = tiny("llama_mha", massive=True), tokens(3, LENGTH)
    analysis = sinkscope.analyze(model, input_ids=ids, settings=EARLY)
    counts = analysis.massive[analysis.massive["is_massive"]].groupby(["layer", "site", "sequence"]).size()
    assert counts.max() > 8
    check(analysis.run, measure(model, ids), EARLY)


def test_sequences_shorter_than_the_sink_window_with_the_literatures_settings() -> None:
    model, ids = tiny("llama_gqa"), tokens(3, 24)
    analysis = sinkscope.analyze(model, input_ids=ids, settings=Settings())
    assert set(analysis.heads["position"]) == {0}
    assert analysis.gradient_blocks["position"].max() == 23
    check(analysis.run, measure(model, ids), Settings())


def test_maps_pooled_over_several_tokens_per_cell() -> None:
    model, ids = tiny("llama_gqa"), tokens(2, 100)
    analysis = sinkscope.analyze(model, input_ids=ids, settings=EARLY)
    assert analysis.maps[analysis.maps["kind"] == "pooled"]["row"].max() == 63
    check(analysis.run, measure(model, ids), EARLY)


def test_rows_of_sampled_pooled_maps_sum_to_one() -> None:
    model, ids = tiny("llama_gqa"), tokens(1, 700)
    run = sinkscope.analyze(model, input_ids=ids, settings=Settings(backward=False)).run
    pooled = run["maps"][run["maps"]["kind"] == "pooled"]
    sums = pooled.groupby(["layer", "head", "row"])["weight"].sum()
    assert len(sums) >= 64
    torch.testing.assert_close(
        torch.tensor(sums.to_numpy()), torch.ones(len(sums), dtype=torch.float64), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("settings", [EARLY, ALL], ids=["early", "all"])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", ["llama_gqa", "mistral_window", "qwen3"])
def test_padding_has_no_rows_and_enters_no_average(family: str, side: str, settings: Settings) -> None:
    model = tiny(family)
    ids, mask, labels = padded([LENGTH, 19, 9, 26], side)
    with Scope(model, settings) as scope:
        model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss.backward()
    check(scope.run(), measure(model, ids, mask), settings, passes=[[0, 1, 2, 3]])


def test_padding_even_where_every_sequence_is_shorter_than_the_batch() -> None:
    model = tiny("llama_gqa")
    ids, mask, labels = (
        torch.nn.functional.pad(x, (0, 4), value=v)
        for x, v in zip(padded([20, 16], "right"), (0, 0, -100), strict=True)
    )
    with Scope(model, EARLY) as scope:
        model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss.backward()
    check(scope.run(), measure(model, ids, mask), EARLY, passes=[[0, 1]])


def test_isolated_documents_neither_see_nor_predict_each_other() -> None:
    model, ids = tiny("llama_gqa"), tokens(4, LENGTH)
    starts = torch.zeros(4, LENGTH, dtype=torch.long)
    starts[0, 7] = starts[1, 20] = starts[1, 24] = starts[3, 1] = 1
    documents = starts.cumsum(1)
    run = sinkscope.analyze(
        model, input_ids=ids, document_ids=documents, isolate_documents=True, batch_size=2, settings=EARLY
    ).run
    assert run.info["data"]["targets"] == 4 * (LENGTH - 1) - 4
    check(run, measure(model, ids, document_ids=documents), EARLY)


def test_the_loss_is_the_mean_over_all_targets_however_windows_share_them() -> None:
    model, ids = tiny("llama_gqa"), tokens(3, LENGTH)
    documents = torch.stack([torch.arange(LENGTH) // 2, torch.arange(LENGTH), torch.zeros(LENGTH).long()])
    analysis = sinkscope.analyze(
        model, input_ids=ids, document_ids=documents, isolate_documents=True, batch_size=2, settings=EARLY
    )
    losses = torch.cat([sequence.losses for sequence in measure(model, ids, document_ids=documents).sequences])
    assert analysis.headline["loss"] == pytest.approx(float(losses.mean()), rel=1e-5)
    assert analysis.headline["perplexity"] == pytest.approx(float(losses.mean().exp()), rel=1e-4)
    of_sequences = analysis.sequences.pivot_table(index="sequence", columns="metric", values="value", dropna=False)
    assert of_sequences["targets"].tolist() == [LENGTH // 2, 0, LENGTH - 1]
    assert of_sequences["loss"].isna().tolist() == [False, True, False]  # a window without a target has no loss


def test_windows_with_equally_many_targets_need_no_count_of_them() -> None:
    run = sinkscope.analyze(tiny("llama_gqa"), input_ids=tokens(3, LENGTH), settings=EARLY).run
    assert "targets" not in set(run["sequences"]["metric"])


def test_windows_without_any_target_are_refused() -> None:
    documents = torch.arange(LENGTH).expand(2, -1)
    with pytest.raises(RequestError, match="no window has a token to predict"):
        sinkscope.analyze(
            tiny("llama_gqa"), input_ids=tokens(2, LENGTH), document_ids=documents, isolate_documents=True
        )


@pytest.mark.parametrize("backward", [True, False])
def test_norms_at_token_zero_are_compared_with_all_of_positions_1_to_15_whatever_rows_were_asked_for(
    backward: bool,
) -> None:
    model, ids = tiny("llama_gqa"), tokens(3, LENGTH)
    few, many = (
        sinkscope.analyze(model, input_ids=ids, settings=Settings(early=1, positions=count, backward=backward))
        for count in (2, LENGTH)
    )
    norms = [name for name in many.headline if name.startswith(("residual_", "mlp_", "attn_", "value_"))]
    assert len(norms) > 10
    assert {name: few.headline[name] for name in norms} == {name: many.headline[name] for name in norms}
    assert few.positions["position"].max() == few.run["values"]["position"].max() == 15
    assert few.positions["grad_norm"].notna().all() == backward


@pytest.mark.parametrize("family", ["llama_gqa", "mistral_window"])
def test_without_the_fused_kernels_log_sum_exp(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinkscope.compat.fused_attention.available", lambda _: False)
    model = tiny(family)
    ids, mask, labels = padded([LENGTH, 19], "left")
    with Scope(model, EARLY) as scope:
        model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss.backward()
    check(scope.run(), measure(model, ids, mask), EARLY, passes=[[0, 1]])


def test_a_loss_of_the_users_own_over_micro_batches() -> None:
    model, ids = tiny("qwen2"), tokens(5, LENGTH)
    targets = ids[:, 1:].numel()
    with Scope(model, EARLY) as scope:
        for part in ids.split([2, 3]):
            logits = model(input_ids=part, use_cache=False).logits[:, :-1]
            (
                nn.functional.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten(), reduction="sum") / targets
            ).backward()
    check(scope.run(), measure(model, ids), EARLY, passes=[[0, 1], [2, 3, 4]])


def test_summed_losses_are_divided_at_the_end() -> None:
    model, ids = tiny("llama_gqa"), tokens(4, LENGTH)
    with Scope(model, EARLY) as scope:
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum").backward()
    check(scope.run(divisor=ids[:, 1:].numel()), measure(model, ids), EARLY, passes=[[0, 1, 2, 3]])


def test_gradient_blocks_reproduce_the_gradient_sink_ratio() -> None:
    model, ids = tiny("llama_gqa"), tokens(40, 12)
    measured = measure(model, ids)
    settings = Settings(sink_window=8, early=5, positions=12)
    analysis = sinkscope.analyze(model, input_ids=ids, batch_size=8, settings=settings)
    blocks = analysis.gradient_blocks
    assert blocks["block_j"].max() == 19
    dots = blocks["dot"] * (2 - (blocks["block_i"] == blocks["block_j"]))
    norms = dots.groupby([blocks["layer"], blocks["position"]]).sum().pow(0.5)
    for layer, ratio in analysis.layers.set_index("layer")["gradient_sink_ratio"].items():
        from_blocks = norms[layer, 0] / norms[layer].loc[1:5].mean()
        assert from_blocks == pytest.approx(gradient_sink_ratio(measured, layer, settings), rel=1e-4)
        assert from_blocks == pytest.approx(ratio, rel=1e-4)
    check(analysis.run, measured, settings)


@pytest.mark.parametrize("family", ["llama_gqa", "qwen3"])
def test_bfloat16_statistics_of_the_very_tensors_of_the_run(family: str) -> None:
    """The tensors are shared, so only the statistics' own arithmetic differs.

    The reference recomputes maps in float64 from the bfloat16 queries and keys. Scope uses the fused kernel's float32
    log-sum-exp and float32 dot products: logits of size 30 carry errors of 30 * 2^-23 * sqrt(16) = 1e-5, which are
    relative errors of the weights. A bfloat16 step anywhere in a statistic would show as 2^-9 = 2e-3.
    """
    model, ids = tiny(family).bfloat16(), tokens(4, LENGTH)
    keeping = Keeping(model)
    with Scope(model, EARLY) as scope, keeping as kept:
        logits = model(input_ids=ids, use_cache=False).logits
        losses = nn.functional.cross_entropy(
            logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
        )
        losses.mean().backward()
    sequences = cut(model, kept, ids, [(0, LENGTH)] * 4, list(losses.view(4, -1)))
    measured = Measured(sequences, keeping.scale)
    tables = reference_tables(measured, EARLY)
    tables["sequences"] = tables["sequences"][tables["sequences"]["metric"] != "loss"]
    expected = tables.pop("massive")  # 16-bit numbers tie, so which entries are listed is open, but not their sizes
    run = scope.run()
    assert_agree(run, tables, relative=1e-4, of_largest=1e-5)
    assert_pairs(run["scatter"], scatter_pairs(measured, EARLY), relative=1e-4, of_largest=1e-5)
    for key, listed in run["massive"].groupby(["layer", "site", "sequence"]):
        sizes = expected.set_index(["layer", "site", "sequence"]).loc[key, "value"].abs()
        assert sorted(listed["value"].abs()) == sorted(sizes)


def test_forward_only_has_nulls_for_gradients_and_the_same_forward_numbers() -> None:
    model, ids = tiny("llama_gqa"), tokens(3, LENGTH)
    run = sinkscope.analyze(model, input_ids=ids, settings=Settings(**{**vars(EARLY), "backward": False})).run
    assert run["positions"]["grad_norm"].isna().all()
    assert run["layers"]["gradient_sink_ratio"].isna().all()
    tables = reference_tables(measure(model, ids), EARLY)
    same = ["heads", "sites", "massive", "values", "sequences", "sinks", "maps"]
    assert_agree(run, {name: tables[name] for name in same})


@pytest.mark.parametrize("family", [*LLAMAS, *STRUCTURES])
def test_scope_changes_nothing_in_the_users_training_step(family: str) -> None:
    """Logits agree with eager and sdpa to float32 rounding; so do the gradients of every parameter."""
    ids, mask, labels = padded([LENGTH, 19], "left")

    def step(implementation: str, *, scoped: bool) -> tuple[torch.Tensor, dict[str, Any]]:
        model = tiny(family)
        model.set_attn_implementation(implementation)
        if scoped:
            with Scope(model, EARLY):
                output = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False)
                output.loss.backward()
        else:
            output = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False)
            output.loss.backward()
        assert model.config._attn_implementation == implementation
        return output.logits.detach()[mask.bool()], {name: p.grad for name, p in model.named_parameters()}

    for implementation in ("sdpa", "eager"):
        logits, gradients = step(implementation, scoped=True)
        expected_logits, expected = step(implementation, scoped=False)
        torch.testing.assert_close(logits, expected_logits, rtol=1e-4, atol=1e-4 * float(expected_logits.abs().max()))
        overall = max(float(gradient.abs().max()) for gradient in expected.values())
        for name, gradient in expected.items():  # of a bias on the keys nothing but rounding: softmax ignores it
            largest = max(float(gradient.abs().max()), 1e-2 * overall)
            torch.testing.assert_close(gradients[name], gradient, rtol=1e-3, atol=1e-5 * largest, msg=name)


def hooks_of(model: nn.Module) -> list[Any]:
    """Every hook of every module."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [hook for module in model.modules() for kind in kinds for hook in getattr(module, kind).values()]


@pytest.mark.parametrize("fails", [False, True])
def test_scope_leaves_the_model_as_it_was(*, fails: bool) -> None:
    model, ids = tiny("llama_gqa"), tokens(2, LENGTH)
    model.set_attn_implementation("eager")
    before, weights = hooks_of(model), copy.deepcopy(model.state_dict())
    frozen = [p.requires_grad for p in model.parameters()]
    try:
        with Scope(model, EARLY):
            assert len(hooks_of(model)) > len(before)
            model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert fails
    assert hooks_of(model) == before
    assert model.config._attn_implementation == "eager"
    assert [p.requires_grad for p in model.parameters()] == frozen
    torch.testing.assert_close(model.state_dict(), weights, rtol=0, atol=0)


def test_analyze_leaves_the_model_as_it_was() -> None:
    model, ids = tiny("llama_gqa"), tokens(2, LENGTH)
    model.lm_head.weight.requires_grad_(False)
    frozen = [p.requires_grad for p in model.parameters()]
    sinkscope.analyze(model, input_ids=ids, settings=EARLY)
    assert hooks_of(model) == []
    assert model.config._attn_implementation == "sdpa"
    assert [p.requires_grad for p in model.parameters()] == frozen
    assert all(p.grad is None for p in model.parameters())


def test_a_frozen_model_gives_the_same_gradients() -> None:
    model, ids = tiny("llama_gqa"), tokens(3, LENGTH)
    measured = measure(model, ids)
    model.requires_grad_(False)
    with Scope(model, EARLY) as scope:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    check(scope.run(), measured, EARLY, passes=[[0, 1, 2]])


@pytest.mark.parametrize("family", LLAMAS)
def test_the_first_query_has_no_gradient(family: str) -> None:
    """Its softmax has one entry and cannot move: below 1e-6 of the largest, as the fused kernel rounds."""
    model, ids = tiny(family), tokens(3, LENGTH)
    table = sinkscope.analyze(
        model, input_ids=ids, settings=Settings(sink_window=8, early=5, positions=LENGTH)
    ).positions
    queries = table[table["site"] == "q"]
    for _, layer in queries.groupby("layer"):
        norms = layer.set_index("position")["grad_norm"]
        assert norms.max() > 0
        assert norms[0] < 1e-6 * norms.max()
