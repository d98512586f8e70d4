import torch
from torch import nn
from upstream import moved, require

HOME = "module_tensors"


def test_what_is_relied_on() -> None:
    require("torch.nn:Module._apply", HOME, "self", "fn", "recurse")
    require("torch.nn:Module._load_from_state_dict", HOME, "self", "state_dict", "prefix")
    module = nn.BatchNorm1d(2)
    for name in ("_parameters", "_buffers"):
        assert isinstance(getattr(module, name, None), dict), moved("torch", f"a module has no table {name}", HOME)


def test_tensors_are_put_back() -> None:
    from sinkscope.compat.module_tensors import restored_tensors

    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    weight, mean = model[0].weight, model[1].running_mean
    with restored_tensors(model):
        model[0].weight = nn.Parameter(torch.zeros(2, 2))
        model[1].running_mean = torch.ones(2)
    assert model[0].weight is weight
    assert model[1].running_mean is mean


def test_a_child_keeps_its_own_tensors_when_the_model_is_cast_or_loaded() -> None:
    from sinkscope.compat.module_tensors import KeepsItsOwn

    class Child(KeepsItsOwn):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([0.1]))
            self.register_buffer("scale", torch.tensor([0.3]))

    model = nn.Sequential(nn.Linear(1, 1), Child())
    values = [model[1].weight.detach().clone(), model[1].scale.clone()]
    bare = {key: torch.zeros_like(tensor) for key, tensor in model.state_dict().items() if key.startswith("0.")}
    model.to(torch.bfloat16).to(torch.float32)
    model.load_state_dict(bare)  # strict: a checkpoint of the model without the child
    assert torch.equal(model[1].weight, values[0]), moved("torch", "a cast does not go through Module._apply", HOME)
    assert torch.equal(model[1].scale, values[1])
    assert model[0].weight.item() == 0
    held = {**bare, "1.weight": torch.tensor([0.7]), "1.scale": torch.tensor([0.9])}
    model.load_state_dict(held)
    assert model[1].weight.item() == held["1.weight"].item()
    assert model[1].scale.item() == held["1.scale"].item()
    assert model.to("meta")[1].weight.is_meta
