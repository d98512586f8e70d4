"""Hooks that carry a model's activations and gradients to a recorder.

Module hooks see activations; gradients come only through `Tensor.register_hook`, set from inside those module hooks.
Module backward hooks would miss the residual path and see nothing where a layer is called with keyword arguments, as
transformers' decoder layers are. Everything is removed when the `with` block ends, exceptions included.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.capture.hooks.routed_experts import has_experts, recording_experts
from sinkscope.capture.micro_batch import MicroBatch, attended_spans
from sinkscope.capture.recorder import Recorder
from sinkscope.compat.compiled_module import has_compiled_parts
from sinkscope.errors import SinkscopeError
from sinkscope.metrics.reshaping import NormAt
from sinkscope.models.families import Family
from sinkscope.models.taps.attention_tap import AttentionCall, tapped
from sinkscope.passes.finite import reason
from sinkscope.sites import Site

_INPUT = "hidden_states"  # by this name transformers' blocks pass on what they do not pass by position


@contextmanager
def recording(model: PreTrainedModel, family: Family, recorder: Recorder) -> "Iterator[Hooks]":
    """Feeds `recorder` from every forward and backward pass of `model` inside the `with` block.

    Yields:
        The hooks, which a driver that calls the layers by itself tells which micro-batch it is at.

    Raises:
        SinkscopeError: for a model that is being measured already, and during a forward pass that checkpoints
            activations (its hooks would fire twice), runs beside another, or yields non-finite activations.
    """
    with ExitStack() as stack:
        if has_compiled_parts(model):
            stance: Any = torch.compiler.set_stance("force_eager")
            stack.enter_context(stance)
        hooks = Hooks(model, family, recorder)
        stack.callback(hooks.remove)
        hooks.attach()
        stack.enter_context(tapped(model, hooks.observers))
        stack.enter_context(recording_experts(model, family, recorder, hooks.current))
        yield hooks


class Hooks:
    """The hooks of one model.

    Args:
        model: the model.
        family: how it is built.
        recorder: what they feed.
    """

    def __init__(self, model: PreTrainedModel, family: Family, recorder: Recorder) -> None:
        self.model = model
        self.family = family
        self.recorder = recorder
        self.factor = family.multiplier(model.config)
        self.handles: list[Any] = []
        self.observers: dict[nn.Module, Any] = {}
        self._batch: MicroBatch | None = None
        self._passing = threading.Lock()
        self._thread: int | None = None  # that a forward pass runs in
        self._begun: MicroBatch | None = None  # the pass that runs there
        self._calls: dict[int, bool] = {}  # threads in the whole model, and whether their pass has left the decoder

    def attach(self) -> None:
        """Puts the hooks on the model."""
        model, family = self.model, self.family
        decoder = family.decoder(model)
        self.handles.append(decoder.register_forward_pre_hook(self._begin, with_kwargs=True))
        self.handles.append(decoder.register_forward_hook(self._end, always_call=True))
        self.handles.append(model.register_forward_pre_hook(self._enter))
        self.handles.append(model.register_forward_hook(self._leave, always_call=True))
        self.handles.append(model.get_input_embeddings().register_forward_hook(self._need_gradients))
        for layer, block in enumerate(family.decoder_layers(model)):
            self._attach_branches(block, layer)
            self._on_output(block.get_submodule(family.attention_added), layer, Site.R_ATTN, self.factor)
            if family.down is not None and not has_experts(family, block):
                self._on_input(block.get_submodule(family.down), layer, Site.DOWN_IN)
            self._on_output(block.get_submodule(family.mlp_added), layer, Site.R_MLP, self.factor)
            self.observers[block.get_submodule(family.attention)] = self._observer(layer)
        last = self.recorder.layers - 1
        if family.final_norm is None:
            self._on_output(family.decoder_layers(model)[-1], last, Site.H_OUT)
        else:
            self._on_input(model.get_submodule(family.final_norm), last, Site.FINAL_IN)

    def at(self, batch: MicroBatch) -> None:
        """Says which forward pass the activations that follow belong to, where no pass of the whole model does."""
        self._batch = batch

    def remove(self) -> None:
        """Takes them off again."""
        for handle in self.handles:
            handle.remove()
        self.settle()
        for thread in list(self._calls):
            self._failed(thread)

    def settle(self) -> None:
        """Says that a pass of this thread that was interrupted has ended: torch calls no hook then."""
        if self._thread == threading.get_ident():
            begun, self._begun, self._thread = self._begun, None, None
            if begun is not None:
                self.recorder.failed(begun)
            self._passing.release()
        self._failed(threading.get_ident())

    def _attach_branches(self, block: nn.Module, layer: int) -> None:
        """Where a block's two branches read the residual stream."""
        family = self.family
        attention, mlp = (block.get_submodule(path) for path in (family.attention, family.mlp_in or family.mlp))
        if family.shares_norm and family.attention_norm is not None:
            self._attach_shared_norm(block.get_submodule(family.attention_norm), attention, mlp, layer)
            return
        if family.attention_norm is not None:
            self._attach_norm(block.get_submodule(family.attention_norm), layer, "attn", (Site.H_IN, Site.HN))
        else:
            self._on_input(attention, layer, Site.H_IN)
        # In a parallel block the MLP reads h_in, which the attention's side has reported.
        if family.mlp_norm is not None:
            sites = (Site.HN2,) if family.parallel else (Site.H_HALF, Site.HN2)
            self._attach_norm(block.get_submodule(family.mlp_norm), layer, "mlp", sites)
        elif not family.parallel:
            self._on_input(mlp, layer, Site.H_HALF)

    def _begin(
        self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self._thread == threading.get_ident():  # the pass before was interrupted
            self.settle()
        if not self._passing.acquire(blocking=False):
            raise SinkscopeError("the model is called by two threads at once: a Scope measures one pass after another")
        self._thread = threading.get_ident()
        if self.model.training and any(getattr(m, "gradient_checkpointing", False) for m in self.model.modules()):
            raise SinkscopeError(
                "gradient checkpointing repeats the forward pass: call gradient_checkpointing_disable() first"
            )
        dropouts = [name for name in self.family.loose_dropouts if getattr(self.model.config, name)]
        if self.model.training and dropouts:
            raise SinkscopeError(
                f"{dropouts[0]} is on, and no module that could be measured applies it: call model.eval(), or set it "
                "to 0"
            )
        input_ids = kwargs.get("input_ids", args[0] if args else None)
        if input_ids is None and self.family.images:
            raise SinkscopeError("image tokens are told apart by their ids: call the model with input_ids")
        inputs = input_ids if input_ids is not None else kwargs["inputs_embeds"]
        if input_ids is None and self._wants_gradients(inputs):
            kwargs = {**kwargs, "inputs_embeds": inputs.detach().requires_grad_(True)}  # the caller's stay as they are
        spans = attended_spans(kwargs.get("attention_mask"))
        self._batch = self._begun = self.recorder.begin(inputs.shape[0], input_ids, spans)
        return args, kwargs

    def _end(self, _module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        if self._thread != threading.get_ident():  # of a pass that was refused
            return
        begun, self._begun, self._thread = self._begun, None, None
        if output is None:  # the pass ended with an exception, or was refused before it began
            if begun is not None:
                self.recorder.failed(begun)
            self._passing.release()
            return
        self._passing.release()
        if threading.get_ident() in self._calls:
            self._calls[threading.get_ident()] = True
        self.recorder.passed()
        try:
            self.check_finite()
            last = output[0] if isinstance(output, tuple) else output.last_hidden_state
            if not bool(last.isfinite().all()):
                raise SinkscopeError(f"the final hidden states are not finite: {reason(self.model)}")
        except SinkscopeError:
            self.recorder.broken = True
            raise

    def _enter(self, _module: nn.Module, _args: tuple[Any, ...]) -> None:
        self._failed(threading.get_ident())  # where the call before was interrupted
        self._calls[threading.get_ident()] = False

    def _leave(self, _module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        """The head and the loss come behind the decoder, and may fail where all layers are recorded."""
        if output is None:
            self._failed(threading.get_ident())
        self._calls.pop(threading.get_ident(), None)

    def _failed(self, thread: int) -> None:
        """Says that a thread's call of the model did not come to its end."""
        if self._calls.pop(thread, False):
            self.recorder.broken = True

    def check_finite(self) -> None:
        """Looks at the latest activations of every site.

        Raises:
            SinkscopeError: if some are not finite, naming the first layer and site.
        """
        place = self.recorder.finite()
        if place is not None:
            layer, site = place
            raise SinkscopeError(f"non-finite activations in layer {layer} at site {site}: {reason(self.model)}")

    def _need_gradients(self, _module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> None:
        # A frozen model yields no gradients at all unless something at its bottom asks for them.
        if self._wants_gradients(output):
            output.requires_grad_(True)

    def _wants_gradients(self, x: Tensor) -> bool:
        return self.recorder.settings.backward and torch.is_grad_enabled() and not x.requires_grad

    def _attach_norm(self, norm: nn.Module, layer: int, branch: str, sites: tuple[Site, ...]) -> None:
        """A branch's norm: reports its input, unless known already, and its output under `sites`."""

        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
            x, batch = _first(args, kwargs), self.current()
            for site, tensor in zip(sites, (x, output)[-len(sites) :], strict=True):
                self.recorder.activation(layer, site, batch, tensor, _rows(batch))
            self.recorder.norm(layer, branch, batch, x, output, self._norm_at(norm), _rows(batch))

        self.handles.append(norm.register_forward_hook(hook, with_kwargs=True))

    def _attach_shared_norm(self, norm: nn.Module, attention: nn.Module, mlp: nn.Module, layer: int) -> None:
        """One norm that both branches read through.

        Each branch gets a view of its own of the norm's output, so that the gradient at the view is the branch's own.
        """
        inputs: list[Tensor] = []

        def at_norm(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            x = _first(args, kwargs)
            inputs[:] = [x.detach()]
            batch = self.current()
            self.recorder.activation(layer, Site.H_IN, batch, x, _rows(batch))

        def at_branch(branch: str, site: Site) -> Any:
            def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
                shared = _first(args, kwargs)
                own = shared.view_as(shared)
                batch = self.current()
                self.recorder.activation(layer, site, batch, own, _rows(batch))
                self.recorder.norm(layer, branch, batch, inputs[0], own, self._norm_at(norm), _rows(batch))
                if module is mlp:
                    inputs.clear()
                return ((own, *args[1:]), kwargs) if args else (args, {**kwargs, _INPUT: own})

            return hook

        self.handles.append(norm.register_forward_pre_hook(at_norm, with_kwargs=True))
        for module, branch, site in ((attention, "attn", Site.HN), (mlp, "mlp", Site.HN2)):
            self.handles.append(module.register_forward_pre_hook(at_branch(branch, site), with_kwargs=True))

    def _on_input(self, module: nn.Module, layer: int, site: Site) -> None:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            batch = self.current()
            self.recorder.activation(layer, site, batch, _first(args, kwargs), _rows(batch))

        # Before hooks that hand the module another input, as a quantization probe's: what is measured is what came.
        self.handles.append(module.register_forward_pre_hook(hook, with_kwargs=True, prepend=True))

    def _on_output(self, module: nn.Module, layer: int, site: Site, factor: float = 1.0) -> None:
        def hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            x = output[0] if isinstance(output, tuple) else output
            batch = self.current()
            self.recorder.activation(layer, site, batch, x, _rows(batch), factor)

        self.handles.append(module.register_forward_hook(hook))

    def _norm_at(self, norm: nn.Module) -> NormAt:
        """A norm as it is now: a streamed model's weights come and go."""
        return NormAt(self.family.gain(norm), self.family.epsilon(norm), self.family.norm.centered)

    def _observer(self, layer: int) -> Any:
        def observe(call: AttentionCall) -> None:
            self.recorder.attention(layer, self.current(), call)

        return observe

    def current(self) -> MicroBatch:
        """The forward pass whose activations arrive.

        Raises:
            SinkscopeError: if no forward pass of the whole model has begun.
        """
        if self._batch is None:
            raise SinkscopeError("a part of the model was called on its own: call the whole causal LM inside the Scope")
        return self._batch


def _rows(batch: MicroBatch) -> Callable[[Tensor], Tensor]:
    """Gives a tensor [B, T, D] also where a block works on all tokens of a batch as [B * T, D]."""
    return lambda x: x if x.dim() > 2 else x.unflatten(0, (batch.size, -1))


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args else kwargs[_INPUT]
