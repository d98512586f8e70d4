"""Hooks that carry a model's activations and gradients to a recorder.

Module hooks see activations; gradients come only through `Tensor.register_hook`, set from inside those module hooks.
Module backward hooks would miss the residual path and see nothing where a layer is called with keyword arguments, as
transformers' decoder layers are. Everything is removed when the `with` block ends, exceptions included.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.capture.batches import MicroBatch, attended_spans
from sinkscope.capture.experts_hooks import recording_experts
from sinkscope.capture.recorder import Recorder
from sinkscope.errors import SinkscopeError
from sinkscope.models.attention import AttentionCall, tapped
from sinkscope.models.experts import find
from sinkscope.models.families import Family
from sinkscope.sites import Site


@contextmanager
def recording(model: PreTrainedModel, family: Family, recorder: Recorder) -> "Iterator[Hooks]":
    """Feeds `recorder` from every forward and backward pass of `model` inside the `with` block.

    Yields:
        The hooks, which a driver that calls the layers by itself tells which micro-batch it is at.

    Raises:
        SinkscopeError: for a compiled model (its hooks stay silent), and during a forward pass that checkpoints
            activations (its hooks would fire twice) or yields non-finite activations.
    """
    if isinstance(model, torch._dynamo.OptimizedModule):
        raise SinkscopeError(
            "a compiled model cannot be measured, its hooks stay silent: pass the model before torch.compile"
        )
    with ExitStack() as stack:
        hooks = Hooks(model, family, recorder)
        stack.callback(hooks.remove)
        hooks.attach()
        stack.enter_context(tapped(model, hooks.observers))
        stack.enter_context(recording_experts(model, family, recorder, hooks.current))
        yield hooks


class Hooks:
    """The hooks of one model.

    Attributes:
        batch: the forward pass whose activations arrive; None before the first.
    """

    def __init__(self, model: PreTrainedModel, family: Family, recorder: Recorder) -> None:
        self.model = model
        self.family = family
        self.recorder = recorder
        self.handles: list[Any] = []
        self.observers: dict[nn.Module, Any] = {}
        self.batch: MicroBatch | None = None

    def attach(self) -> None:
        """Puts the hooks on the model."""
        model, family = self.model, self.family
        decoder = model.get_decoder()
        self.handles.append(decoder.register_forward_pre_hook(self._begin, with_kwargs=True))
        self.handles.append(decoder.register_forward_hook(self._end))
        self.handles.append(model.get_input_embeddings().register_forward_hook(self._need_gradients))
        for layer, block in enumerate(family.decoder_layers(model)):
            self._attach_norm(block.get_submodule(family.attention_norm), layer, "attn", Site.H_IN, Site.HN)
            self._attach_norm(block.get_submodule(family.mlp_norm), layer, "mlp", Site.H_HALF, Site.HN2)
            self._on_output(block.get_submodule(family.attention), layer, Site.R_ATTN)
            down = find(block, family.down)
            if down is not None or family.experts is None:  # experts have no common down projection
                self._on_input(block.get_submodule(family.down), layer, Site.DOWN_IN)
            self._on_output(block.get_submodule(family.mlp), layer, Site.R_MLP)
            self.observers[block.get_submodule(family.attention)] = self._observer(layer)
        self._on_input(model.get_submodule(family.final_norm), self.recorder.layers - 1, Site.FINAL_IN)

    def remove(self) -> None:
        """Takes them off again."""
        for handle in self.handles:
            handle.remove()

    def _begin(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.model.training and any(getattr(m, "gradient_checkpointing", False) for m in self.model.modules()):
            raise SinkscopeError(
                "gradient checkpointing repeats the forward pass: call gradient_checkpointing_disable() first"
            )
        input_ids = kwargs.get("input_ids", args[0] if args else None)
        shown = input_ids if input_ids is not None else kwargs["inputs_embeds"]
        done = self.recorder.batches
        first = done[-1].first + done[-1].size if done else 0
        ids = None if input_ids is None else input_ids.detach().cpu()
        self.batch = MicroBatch(first, shown.shape[0], ids, attended_spans(kwargs.get("attention_mask")))
        done.append(self.batch)

    def _end(self, _module: nn.Module, _args: tuple[Any, ...], _output: Any) -> None:
        self.check_finite()

    def check_finite(self) -> None:
        """Looks at the latest activations of every site.

        Raises:
            SinkscopeError: if some are not finite, naming the first layer and site.
        """
        found = self.recorder.finite()
        if found is not None:
            layer, site = found
            bad = [name for name, weight in self.model.named_parameters() if not bool(weight.isfinite().all())]
            why = f"the weights {', '.join(bad[:3])} are not finite" if bad else "try --dtype float32 or bfloat16"
            raise SinkscopeError(f"non-finite activations in layer {layer} at site {site}: {why}")

    def _need_gradients(self, _module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> None:
        # A frozen model yields no gradients at all unless something at its bottom asks for them.
        if self.recorder.settings.backward and torch.is_grad_enabled() and not output.requires_grad:
            output.requires_grad_(True)

    def _attach_norm(self, norm: nn.Module, layer: int, branch: str, before: Site, after: Site) -> None:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
            x, batch = _first(args, kwargs), self.current()
            # Read at each pass: a streamed model's weights come and go.
            gain, eps = self.family.gain(norm), self.family.epsilon(norm)
            self.recorder.activation(layer, before, batch, x)
            self.recorder.activation(layer, after, batch, output)
            self.recorder.norm(layer, branch, batch, x, output, gain, eps)

        self.handles.append(norm.register_forward_hook(hook, with_kwargs=True))

    def _on_input(self, module: nn.Module, layer: int, site: Site) -> None:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.recorder.activation(layer, site, self.current(), _first(args, kwargs))

        self.handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def _on_output(self, module: nn.Module, layer: int, site: Site) -> None:
        def hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            x = output[0] if isinstance(output, tuple) else output
            self.recorder.activation(layer, site, self.current(), x)

        self.handles.append(module.register_forward_hook(hook))

    def _observer(self, layer: int) -> Any:
        def observe(call: AttentionCall) -> None:
            self.recorder.attention(layer, self.current(), call)

        return observe

    def current(self) -> MicroBatch:
        """The running micro-batch.

        Raises:
            SinkscopeError: if there is none, as where a part of the model is called on its own.
        """
        if self.batch is None:
            raise SinkscopeError("a part of the model was called on its own: call the whole causal LM inside the Scope")
        return self.batch


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args else kwargs["hidden_states"]
