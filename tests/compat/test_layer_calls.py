from typing import Any

import pytest
import tiny
import torch
from upstream import moved

from sinkscope.errors import SinkscopeError

HOME = "layer_calls"
IDS = torch.arange(12)[None]


def test_layers_called_as_noted_compute_what_the_model_computes() -> None:
    from sinkscope.compat.layer_calls import calls_of

    model = tiny.build("llama_gqa")
    layers = list(model.model.layers)
    with torch.no_grad():
        hidden, calls = calls_of(model, layers, IDS, None)
        assert torch.equal(hidden, model.model.embed_tokens(IDS)), moved(
            "transformers", "a layer's first argument is not the hidden states", HOME
        )
        for layer, call in zip(layers, calls, strict=True):
            hidden = call.of(layer, hidden)
        expected = model.model(input_ids=IDS, use_cache=False).last_hidden_state
    assert torch.equal(model.model.norm(hidden), expected), moved(
        "transformers", "layers called one by one compute something else", HOME
    )


def test_layers_that_hand_on_more_than_hidden_states_are_refused() -> None:
    from sinkscope.compat.layer_calls import calls_of

    model = tiny.build("llama_gqa")
    layers = list(model.model.layers)
    inner = layers[1].forward

    def depends(hidden: Any, *args: Any, **kwargs: Any) -> Any:
        return inner(hidden, *args, **kwargs)

    class Decoder(torch.nn.Module):
        def forward(self, input_ids: Any, **_: Any) -> Any:
            hidden = model.model.embed_tokens(input_ids)
            for layer in layers:
                hidden = layer(2 * hidden, position_embeddings=model.model.rotary_emb(hidden, input_ids))
            return hidden

    with pytest.raises(SinkscopeError, match="cannot be run one by one"), torch.no_grad():
        calls_of(Decoder(), layers, IDS, None)  # type: ignore[arg-type]
