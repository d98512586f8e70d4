"""The tap computes what transformers' eager attention computes: outputs, gradients and weights, for every variant."""

import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import pytest
import torch
from operators import without_fused_attention
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    AutoModelForCausalLM,
    Cohere2Config,
    DeepseekV3Config,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    GptOssConfig,
    Llama4TextConfig,
    LlamaConfig,
    MistralConfig,
    Olmo3Config,
    OPTConfig,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

from sinkscope import Scope, Settings
from sinkscope.capture.statistics.attention_columns import (
    alpha,
    column_sums,
    cut,
    every_column,
    one_head,
    pooled_map,
    weights,
)
from sinkscope.capture.statistics.learned_sink_statistics import LearnedSinks
from sinkscope.compat import fused_attention
from sinkscope.errors import SinkscopeError
from sinkscope.models.taps import query_blocks as blockwise
from sinkscope.models.taps.attention_tap import TAP, AttentionCall, attention_with_lse, tapped
from sinkscope.models.taps.masks import Mask, as_mask

SHAPE: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "attn_implementation": "eager",
}  # fmt: skip
GROUPED = {**SHAPE, "intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 8}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
WINDOWED = ["sliding_attention", "full_attention"]
MODELS: dict[str, PretrainedConfig] = {
    "mistral": MistralConfig(**GROUPED, sliding_window=6),
    "gemma2": Gemma2Config(**GROUPED, sliding_window=6, query_pre_attn_scalar=8, attn_logit_softcapping=2.0),
    "gemma3": Gemma3TextConfig(**GROUPED, sliding_window=6, layer_types=WINDOWED),
    "gpt_oss": GptOssConfig(**GROUPED, **EXPERTS, sliding_window=6),
    "olmo3": Olmo3Config(**GROUPED, sliding_window=6, layer_types=WINDOWED),
    "cohere2": Cohere2Config(**GROUPED, sliding_window=6, layer_types=WINDOWED),
    "llama4": Llama4TextConfig(
        **GROUPED, num_local_experts=2, attention_chunk_size=6, intermediate_size_mlp=48,
        layer_types=["chunked_attention", "full_attention"],
    ),
    "deepseek_v3": DeepseekV3Config(
        **SHAPE, intermediate_size=48, moe_intermediate_size=16, n_routed_experts=4, n_group=2, topk_group=1,
        num_experts_per_tok=2, first_k_dense_replace=1, kv_lora_rank=16, q_lora_rank=16, qk_rope_head_dim=8,
        qk_nope_head_dim=8, v_head_dim=8, num_key_value_heads=4,
    ),
    "gpt2": GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4, attn_implementation="eager"),
    "opt": OPTConfig(**SHAPE, ffn_dim=48, word_embed_proj_dim=32),
    "gpt_neox": GPTNeoXConfig(**SHAPE, intermediate_size=48),
}  # fmt: skip


def model_of(name: str) -> PreTrainedModel:
    """A random model with eager attention whose heads prefer some keys."""
    torch.manual_seed(0)
    built: PreTrainedModel = AutoModelForCausalLM.from_config(MODELS[name]).eval()
    with torch.no_grad():
        for key, parameter in built.named_parameters():
            if "norm" not in key and "sinks" not in key:
                parameter.mul_(3)
            if "sinks" in key:
                parameter.normal_()
    return built


def inputs(kind: str) -> dict[str, Tensor]:
    """A batch without padding, padded on either side, or with packed documents."""
    ids = torch.randint(3, 64, (2, 20), generator=torch.Generator().manual_seed(1))
    if kind == "packed":
        starts = torch.tensor([[0] * 7 + [7] * 6 + [13] * 7, [0] * 17 + [17] * 3])
        return {"input_ids": ids, "position_ids": torch.arange(20) - starts}
    attended = torch.ones_like(ids)
    if kind == "left":
        attended[1, :9] = 0
    if kind == "right":
        attended[0, 12:] = 0
    return {"input_ids": ids, "attention_mask": attended}


def logits_and_gradient(model: PreTrainedModel, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits and input gradient at attended tokens, and the gradient of the sink logits where there are any."""
    attended = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()
    x = model.get_input_embeddings()(batch["input_ids"]).detach().requires_grad_()
    options = {key: value for key, value in batch.items() if key != "input_ids"}
    logits = model(inputs_embeds=x, **options, use_cache=False).logits[attended]
    weight = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))
    model.zero_grad()
    (logits * weight).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    sinks = [p.grad for name, p in model.named_parameters() if "sinks" in name]
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    return logits.detach(), x.grad[attended], torch.stack(sinks) if sinks else None


@pytest.mark.parametrize("kind", ["whole", "left", "right", "packed"])
@pytest.mark.parametrize("name", MODELS)
def test_models_agree_with_eager_attention(name: str, kind: str) -> None:
    model, batch = model_of(name), inputs(kind)
    expected = logits_and_gradient(model, batch)
    calls: list[AttentionCall] = []
    modules = [module for module in model.modules() if hasattr(module, "layer_idx") and hasattr(module, "scaling")]
    with tapped(model, dict.fromkeys(modules, calls.append)):
        found = logits_and_gradient(model, batch)
    assert len(calls) == 2
    assert all(call.mask is None or isinstance(call.mask, Mask) for call in calls)
    for a, b in zip(found, expected, strict=True):
        if b is not None:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))


B, H, K, T, D = 2, 4, 2, 45, 8
WINDOW, SCALE = 7, 0.7
ATTENDED = torch.ones(B, T, dtype=torch.bool)


def mask_and_map(kind: str) -> tuple[Mask | None, Tensor, list[tuple[int, int, int]]]:
    """A mask as transformers asks for it, the same as a map [B, T, T], and the spans of the sequences."""
    config = LlamaConfig(sliding_window=WINDOW, attn_implementation=TAP)
    embeddings, attended, positions = torch.zeros(B, T, 1), ATTENDED.clone(), None
    seen = torch.ones(B, T, T, dtype=torch.bool).tril()
    spans = [(row, 0, T) for row in range(B)]
    if "window" in kind:
        seen &= ~torch.ones(T, T, dtype=torch.bool).tril(-WINDOW)
    if "left" in kind:
        attended[1, :30] = False
        spans[1] = (1, 30, T)
    if "right" in kind:
        attended[0, 20:] = False
        spans[0] = (0, 0, 20)
    if "packed" in kind:
        starts = torch.tensor([[0] * 11 + [11] * 30 + [41] * 4, [0] * 44 + [44]])
        positions, attended = torch.arange(T) - starts, None
        seen &= starts[:, :, None] == starts[:, None, :]
    else:
        seen &= attended[:, None, :]
    make = create_sliding_window_causal_mask if "window" in kind else create_causal_mask
    if kind == "tensor":
        seen[1, :, 3] = False
        return as_mask(seen[:, None]), seen, spans
    return make(config, embeddings, attended, None, positions), seen, spans


def reference(
    q: Tensor, k: Tensor, v: Tensor, seen: Tensor, softcap: float | None, sinks: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Output and weights from a whole map with an explicit softmax, whatever the dtype of the tensors."""
    k, v = (x.repeat_interleave(H // K, 1) for x in (k, v))
    scores = q @ k.transpose(-1, -2) * SCALE
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~seen[:, None], -1e30)
    if sinks is not None:
        scores = torch.cat([scores, sinks.view(1, H, 1, 1).expand(B, H, T, 1)], -1)
    a = scores.softmax(-1)[..., :T] * seen[:, None]
    return a @ v, a


MASKS = ["plain", "window", "left", "right", "packed", "window-left", "window-right", "window-packed", "tensor"]
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "softcap": {"softcap": 1.5},
    "sinks": {"sinks": True},
    "wide": {"value_size": 12},
    "narrow": {"value_size": 4},
    "everything": {"softcap": 1.5, "sinks": True, "value_size": 4},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", MASKS)
def test_every_variant_agrees_with_whole_maps(
    kind: str, variant: str, fused: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs, all gradients, weights and column statistics, in blocks far smaller than the sequence."""
    monkeypatch.setattr(blockwise, "_FUSED_ROWS", (4, 16))
    monkeypatch.setattr(blockwise, "_EXPLICIT_ELEMENTS", 600)
    monkeypatch.setattr(blockwise, "_EXPLICIT_ROWS", (4, 16))
    if not fused:
        monkeypatch.setattr(fused_attention, "available", lambda _: False)
    options = {"softcap": None, "sinks": False, "value_size": D, **VARIANTS[variant]}
    mask, seen, spans = mask_and_map(kind)
    torch.manual_seed(0)
    shapes = [(B, H, T, D), (B, K, T, D), (B, K, T, options["value_size"]), (H,)]
    tensors = [torch.randn(shape).to(dtype).requires_grad_() for shape in shapes]
    exact = [x.detach().double().requires_grad_() for x in tensors]
    used = slice(0, 4 if options["sinks"] else 3)
    sinks, exact_sinks = (group[3] if options["sinks"] else None for group in (tensors, exact))
    y, lse = attention_with_lse(*tensors[:3], mask, SCALE, softcap=options["softcap"], sink_logits=sinks)
    expected, a = reference(*exact[:3], seen, options["softcap"], exact_sinks)
    # Padded queries compute garbage that nobody looks at, and eager attention other garbage.
    grad = torch.randn(y.shape).to(dtype) * seen.any(-1)[:, None, :, None]
    found = torch.autograd.grad(y, tensors[used], grad)
    wanted = torch.autograd.grad(expected, exact[used], grad.double())
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for one, other in zip((y, *found), (expected, *wanted), strict=True):
        assert one.dtype == dtype
        assert_near(one, other, tolerance)

    # The fused operator's log-sum-exp of 16-bit scores is a float32 that is good to 5e-5.
    exactness = 1e-5 if dtype == torch.float32 else 1e-4
    q, k, v = (x.detach() for x in tensors[:3])
    sinks = None if sinks is None else sinks.detach()
    call = AttentionCall(q, k, v, v, lse, y.detach().transpose(1, 2), SCALE, mask, options["softcap"], sinks)
    for row, start, stop in spans:
        one, length = cut(call, row, start, stop), stop - start
        part = a[row : row + 1, :, start:stop, start:stop].detach()
        assert_near(weights(one, slice(3, 9), torch.arange(length)), part[:, :, 3:9], exactness)
        assert_near(alpha(one, 5), bands(part, 5), exactness)
        columns = torch.tensor([0, 1, 2, 6, length - 1])
        mass, second = column_sums(one, columns)
        assert_near(mass, part.sum(2)[..., columns], exactness)
        assert_near(second, part.square().sum(2)[..., columns], exactness)
        mass, second = every_column(one)
        assert_near(mass, part.sum(2), exactness)
        assert_near(second, part.square().sum(2), exactness)
        head = one_head(one, 0, 3)
        assert_near(weights(head, slice(0, length), slice(0, length)), part[:, 3:4], exactness)
        assert_near(pooled_map(head, length, 9), part[0, 3], exactness)
        if options["sinks"]:
            assert_near(sink_mass(one), 1 - part.sum(-1).mean(-1), exactness)
            assert_near(sink_mass(head), 1 - part[:, 3:4].sum(-1).mean(-1), exactness)


def sink_mass(call: AttentionCall) -> Tensor:
    """The learned sink's weight as it is recorded, mean over the queries [N, H]."""
    kept = LearnedSinks()
    kept.update(call, window=1)
    return kept.mass.rows()


def assert_near(found: Tensor, expected: Tensor, relative: float) -> None:
    """Equal to a fraction of the largest entry."""
    largest = float(expected.detach().abs().max())
    torch.testing.assert_close(found.double(), expected.double(), rtol=relative, atol=relative * largest)


def bands(a: Tensor, window: int) -> Tensor:
    """Equation (1) of whole maps [N, H, T, T]."""
    count = a.shape[-1] - window + 1
    return torch.stack([a[:, :, s : s + window, s].mean(-1) for s in range(count)], -1)


def test_a_block_of_hidden_keys_before_the_first_visible_one() -> None:
    """Left padding longer than the fused operator's own blocks of keys."""
    length, start = 1300, 1200
    attended = torch.ones(1, length, dtype=torch.bool)
    attended[0, :start] = False
    config = LlamaConfig(attn_implementation=TAP)
    mask = create_causal_mask(config, torch.zeros(1, length, 1), attended, None)
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, length, D, requires_grad=True) for _ in range(3))
    y, lse = attention_with_lse(q, k, v, mask, SCALE)
    alone, alone_lse = attention_with_lse(*(x[:, :, start:] for x in (q, k, v)), None, SCALE)
    torch.testing.assert_close(y[:, :, start:], alone)
    torch.testing.assert_close(lse[:, :, start:], alone_lse)
    assert not y[:, :, :start].any()
    grad = torch.randn_like(y)
    for x, part in zip(
        torch.autograd.grad(y, (q, k, v), grad),
        torch.autograd.grad(alone, (q, k, v), grad[:, :, start:]),
        strict=True,
    ):
        torch.testing.assert_close(x, part)


def test_plain_causality_has_no_mask() -> None:
    """So that the fused kernel is called as it is: also where a window, or an attention mask of ones, hides nothing."""
    config = LlamaConfig(sliding_window=T, attn_implementation=TAP)
    for make in (create_causal_mask, create_sliding_window_causal_mask):
        assert make(config, torch.zeros(B, T, 1), ATTENDED, None, torch.arange(T)[None]) is None


def test_a_padded_batch_is_plain_once_padding_is_cut_off() -> None:
    mask, _, spans = mask_and_map("left")
    assert mask is not None
    assert mask.cut(*spans[1]) is None


@pytest.mark.parametrize(("kind", "first"), [("window", 24), ("packed", 0), ("window-packed", 24)])
def test_the_first_key_of_a_block_is_known(kind: str, first: int) -> None:
    mask, _, _ = mask_and_map(kind)
    assert mask is not None
    assert mask.first_key(slice(30, 40)) == first


def test_masks_that_are_not_causal_or_add_to_scores_are_refused() -> None:
    seen = torch.ones(1, 1, 6, 6, dtype=torch.bool)
    with pytest.raises(SinkscopeError, match="not causal"):
        as_mask(seen)
    causal = torch.zeros(1, 1, 6, 6).masked_fill(~seen.tril(), torch.finfo(torch.float32).min)
    mask = as_mask(causal)
    assert mask is not None
    assert mask.block(slice(0, 6), slice(0, 6)).equal(seen.tril())
    with pytest.raises(SinkscopeError, match="position bias"):
        as_mask(causal + torch.arange(6))
    with pytest.raises(SinkscopeError, match="shape"):
        as_mask(seen.expand(1, 4, 6, 6).tril())


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that any operator returns, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for x in result if isinstance(result, tuple | list) else (result,):
            if isinstance(x, Tensor):
                self.elements = max(self.elements, x.numel())
        return result


LONG = 2200  # T^2 exceeds every block's elements


def long_model(name: str, *, window: int | None) -> PreTrainedModel:
    """One layer, few channels: nothing but attention could be large."""
    small = {
        "vocab_size": 16, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 4, "max_position_embeddings": LONG,
    }  # fmt: skip
    return AutoModelForCausalLM.from_config(MODELS[name].__class__(**small, sliding_window=window)).eval()


@contextmanager
def largest_of(model: PreTrainedModel) -> Iterator[Largest]:
    """Watches what is made while the model is measured."""
    with Scope(model, Settings(columns="all")), Largest() as largest:
        yield largest


@pytest.mark.parametrize("kind", ["plain", "window", "left", "right", "packed"])
def test_no_tensor_of_tokens_by_tokens_is_made(kind: str) -> None:
    model = long_model("mistral", window=300 if kind == "window" else None)
    ids = torch.randint(3, 16, (1, LONG))
    options: dict[str, Tensor] = {}
    if kind == "packed":
        options["position_ids"] = torch.cat([torch.arange(900), torch.arange(LONG - 900)])[None]
    if kind in ("left", "right"):
        options["attention_mask"] = torch.ones_like(ids)
        options["attention_mask"][0, slice(0, 500) if kind == "left" else slice(-500, None)] = 0
    with largest_of(model) as largest:
        model(input_ids=ids, labels=ids, use_cache=False, **options).loss.backward()
    assert LONG < largest.elements < LONG**2
    model.set_attn_implementation("eager")
    with Largest() as largest:  # the watch would see one
        model(input_ids=ids[:, :1000], use_cache=False)
    assert largest.elements >= 1000**2


@pytest.mark.parametrize("name", ["mistral", "gpt_oss", "opt"])
def test_a_torch_without_the_private_operator_measures_the_same(name: str) -> None:
    """Plain causality, windows, learned sinks and padding, forward and backward, by explicit products alone."""

    def measured() -> dict[str, pd.DataFrame]:
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(MODELS[name]).eval()
        model.set_attn_implementation("sdpa" if name != "gpt_oss" else "eager")
        ids = torch.randint(64, (3, 20), generator=torch.Generator().manual_seed(1))
        mask = torch.ones_like(ids)
        mask[0, :7] = 0
        with Scope(model, Settings(positions=20, early=7)) as scope:
            model(input_ids=ids, attention_mask=mask, labels=ids, use_cache=False).loss.backward()
        return scope.run().tables

    expected = measured()
    with without_fused_attention():
        found = measured()
    assert found.keys() == expected.keys()
    for table in ("heads", "sinks", "sites", "positions", "branches", "values", "maps", "layers"):
        pd.testing.assert_frame_equal(found[table], expected[table], rtol=1e-3, atol=1e-5, obj=table)


def test_the_modules_of_the_tap_load_in_a_torch_without_the_private_operator() -> None:
    with without_fused_attention():
        again = runpy.run_path(blockwise.__file__)
        q, k, v = (torch.randn(1, heads, 5, 4) for heads in (2, 1, 1))
        y, _ = again["blockwise_attention"](q, k, v, None, 0.5, fused=False)
    torch.testing.assert_close(
        y, torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.5, enable_gqa=True)
    )
