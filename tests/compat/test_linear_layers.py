from transformers import GPT2Config, GPT2Model
from upstream import moved, require

HOME = "linear_layers"


def test_what_is_relied_on() -> None:
    require("transformers.pytorch_utils:Conv1D", HOME)
    from sinkscope.compat.linear_layers import Conv1D

    projection = GPT2Model(GPT2Config(vocab_size=8, n_embd=4, n_layer=1, n_head=1)).h[0].attn.c_attn
    assert isinstance(projection, Conv1D), moved("transformers", "GPT-2's projections are of another class", HOME)
    assert projection.weight.shape == (4, 12), moved("transformers", "Conv1D keeps its weight otherwise", HOME)
