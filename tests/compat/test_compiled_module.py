import torch
from torch import nn
from upstream import moved, require

HOME = "compiled_module"


def test_what_is_relied_on() -> None:
    require("torch._dynamo:OptimizedModule", HOME)
    from sinkscope.compat.compiled_module import is_compiled, original_of

    module = nn.Linear(2, 2)
    compiled = torch.compile(module)
    assert is_compiled(compiled), moved("torch", "torch.compile returns another class", HOME)
    assert not is_compiled(module)
    assert original_of(compiled) is module
