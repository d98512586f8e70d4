import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from upstream import moved

HOME = "accelerate_forward"


class Kinds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


def test_what_is_relied_on() -> None:
    from sinkscope.compat.accelerate_forward import forward_of_the_class

    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        module = Accelerator(cpu=True, mixed_precision="bf16").prepare(Kinds())
        assert "_original_forward" in module.__dict__, moved(
            "accelerate", "prepare keeps the forward function elsewhere", HOME
        )
        wrapped = module.__dict__["forward"]
        x = torch.randn(3, 2)
        with torch.autocast("cpu", enabled=False), forward_of_the_class(module):
            inside = module(x)
        assert torch.equal(inside, nn.functional.linear(x, module.linear.weight, module.linear.bias))
        assert module.__dict__["forward"] is wrapped
        assert not torch.equal(module(x), inside)  # bfloat16 again
        plain = Kinds()
        with forward_of_the_class(plain):
            assert "forward" not in plain.__dict__
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
