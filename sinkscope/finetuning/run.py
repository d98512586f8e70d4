"""Finetuning: V-scale on a finished model, a control without it on the same data, and what both changed.

Only the difference to the control means anything: training changes a model with V-scale and without. So the two are
trained alike, from the same weights on the same windows in the same order, and one report compares the model before,
the control, and the model with V-scale.

    OUT/settings.json, model/, checkpoints/, metrics.parquet    the model with V-scale (see `training_folder`)
    OUT/control/                                                the same for the control
    OUT/losses.json                                             held-out losses before, after attaching, after training
    OUT/analysis/{before,control,after}                         run folders
    OUT/report/                                                 their comparison, with report.pdf

Each part is made once: an interrupted run goes on with the part that it had reached.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.documents.read import check
from sinkscope.documents.state import Losses
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.files.owner import owned
from sinkscope.files.sealed import read_sealed, write_sealed
from sinkscope.files.whole import building_folder
from sinkscope.finetuning.lora import merged, with_lora
from sinkscope.finetuning.plan import MOMENTS, STEPS, ahead_of, plan_finetuning
from sinkscope.finetuning.settings import AFTER, CONTEXT, CONTROL, Finetuning, LoraSettings
from sinkscope.finetuning.start import calibration_windows, ramp, start_vscale_
from sinkscope.loading.describe import config_sha256, valves_sha256
from sinkscope.loading.device import usable_device
from sinkscope.loading.load import Loaded, load_model
from sinkscope.models.shape import context_of, default_tokens
from sinkscope.passes.trial import now
from sinkscope.progress.display import stage
from sinkscope.training.checkpoint import check_checkpoint_room, load_state, take_up_
from sinkscope.training.corpus import Corpus, hash_of, hash_of_text, prepare_corpus
from sinkscope.training.engine import Engine, make_accelerator, prepare, shares
from sinkscope.training.loop import print_line, train, validation_loss
from sinkscope.training.new_model import build_optimizer, recompute_activations_
from sinkscope.training.repeatable import repeatable
from sinkscope.training.save import base_of, finish, trained_saver, whole_saver
from sinkscope.training.trackers import start_tracker
from sinkscope.training.training_folder import MODEL, TOKENS, claimed, hold_to
from sinkscope.vscale import attach_, attached, detach_, set_ramp_
from sinkscope.vscale import save as save_vscale

ADAPTER, LOSSES = "adapter", "losses.json"


@dataclass(frozen=True)
class Finetuned:
    """What a finetuning left.

    Attributes:
        settings: what was done, every value resolved.
        model: folder of the finished model.
        control: folder of the control's, or None.
        losses: held-out loss in nats by moment: `before`, `attached`, `after`, `control`.
        valid: the held-out windows [N, T] that all were measured on.
    """

    settings: Finetuning
    model: Path
    control: Path | None
    losses: dict[str, float]
    valid: Tensor


def finetune(
    settings: Finetuning,
    out: Path,
    *,
    control: bool,
    resume: bool = False,
    device: str = "auto",
    log_to: str | None = None,
    analyzed: int = 0,
) -> Finetuned:
    """Trains a finished model on, with V-scale where the settings have it.

    Args:
        settings: what and how.
        out: a folder for everything that comes out.
        control: train the same without V-scale too.
        resume: go on with what is there.
        device: `cpu` keeps the training off a GPU.
        log_to: also log to this tracker.
        analyzed: windows of each model that are analyzed afterwards, for the plan.

    Raises:
        SinkscopeError: for a folder that is taken, a model that cannot be loaded or trained like that, text that is
            too short, or a loss that stops being finite.
    """
    if control and settings.train == "theta":
        raise RequestError("without V-scale nothing is left of `train=theta`: leave out `control`")
    usable_device(device)
    accelerator = make_accelerator(precision=settings.precision, device=device, log_to=log_to, folder=str(out))
    with owned(out, here=accelerator.is_main_process):
        return _finetuned(settings, out, accelerator, control=control, resume=resume, analyzed=analyzed)


def _finetuned(
    settings: Finetuning, out: Path, accelerator: Accelerator, *, control: bool, resume: bool, analyzed: int
) -> Finetuned:
    shares(settings.optimizer, accelerator.num_processes)
    started = now()
    loaded = _load(settings, accelerator)
    loading = now() - started
    if settings.vscale is not None and attached(loaded.model):
        raise RequestError(f"{settings.model} has V-scale already: leave out `vscale` to train it on")
    context = context_of(loaded.model.config)
    if settings.data.tokens == CONTEXT:
        settings = replace(settings, data=replace(settings.data, tokens=default_tokens(loaded.model.config)))
    elif context is not None and settings.data.tokens > context:
        raise RequestError(f"{settings.data.tokens} tokens exceed the model's context of {context}: use fewer `tokens`")
    windows = settings.schedule.steps * settings.optimizer.batch_sequences
    with claimed(out, {**asdict(settings), "control": control}, accelerator, resume=resume):
        losses = _Losses(out / LOSSES, accelerator)
        ahead = ahead_of(settings, out, set(losses.known), control=control, analyzed=analyzed)
        plan_finetuning(settings, loaded.model, accelerator, ahead, loading)
        stage("reading text")
        text = hash_of_text(settings.data)
        hold_to({"text": text, "model": _identity(loaded)}, out, accelerator)
        corpus = prepare_corpus(settings.data, loaded.tokenizer, out / TOKENS, accelerator, windows=windows, text=text)
    start_tracker(accelerator, asdict(settings))
    _train(settings, loaded, corpus, out, accelerator, losses, after=AFTER)
    del loaded
    if control:
        plain = replace(settings, vscale=None)
        _train(plain, _load(plain, accelerator), corpus, out / CONTROL, accelerator, losses, after=CONTROL)
    accelerator.end_training()
    return Finetuned(settings, out / MODEL, out / CONTROL / MODEL if control else None, losses.known, corpus.valid)


def _identity(loaded: Loaded) -> dict[str, Any]:
    """What a model is, by hashes: of its weights, its configuration, its V-scale and its tokenizer."""
    return {
        "weights": loaded.weights_sha256 or loaded.revision,
        "config": config_sha256(loaded.model),
        "vscale": valves_sha256(loaded.model),
        "tokenizer": hash_of(loaded.tokenizer),
    }


class _Losses:
    """Held-out losses by moment, each measured once and kept on disk."""

    def __init__(self, path: Path, accelerator: Accelerator) -> None:
        self._path, self._accelerator = path, accelerator
        self.known = check(read_sealed(path, "choose another `out`") or {}, Losses, str(path))

    def measure(self, moment: str, model: nn.Module, valid: Tensor, batch: int) -> None:
        """Measures the loss at a moment, unless it is known. Every process must call this."""
        if moment in self.known:
            return
        stage(f"held-out loss {MOMENTS[moment]}")
        self.known[moment] = validation_loss(Engine(self._accelerator, model, None), valid, batch)
        if self._accelerator.is_main_process:
            write_sealed(self._path, self.known, indent=1)
            print_line(f"held-out loss {MOMENTS[moment]}: {self.known[moment]:.4f} nats per token")


def _load(settings: Finetuning, accelerator: Accelerator) -> Loaded:
    stage("loading")
    return load_model(
        settings.model,
        revision=settings.revision,
        gguf_file=settings.gguf_file,
        dtype="float32" if settings.train == "all" else "auto",
        device=str(accelerator.device),
        quantize=settings.quantize,
        trust_remote_code=settings.trust_remote_code,
    )


def _train(
    settings: Finetuning,
    loaded: Loaded,
    corpus: Corpus,
    out: Path,
    accelerator: Accelerator,
    losses: _Losses,
    *,
    after: str,
) -> None:
    """Trains one model to its end, unless it is there."""
    if (out / MODEL).is_dir():
        return
    set_seed(settings.seed)
    base, start = loaded.model, settings.vscale
    _, micro = shares(settings.optimizer, accelerator.num_processes)
    losses.measure("before", base, corpus.valid, micro)
    model = _arranged_(base, settings)
    if start is not None:
        stage("calibrating")
        start_vscale_(base, start, corpus.train[calibration_windows(len(corpus.train))])
        losses.measure("attached", base, corpus.valid, micro)
    optimizer = build_optimizer(model, settings.optimizer)
    saver = whole_saver(base, loaded.tokenizer) if settings.train == "all" else trained_saver(model)
    checkpoint, rows = take_up_(out, model, saver, accelerator)
    engine = prepare(accelerator, model, optimizer, settings.optimizer)
    if engine.sharded and settings.train != "all":
        raise SinkscopeError("FSDP trains all weights: train low-rank layers or theta on replicated processes")
    if checkpoint is not None:
        load_state(checkpoint, engine)
    out.mkdir(parents=True, exist_ok=True)
    check_checkpoint_room(out, engine)

    def raise_valve(step: int) -> None:
        if start is not None:
            set_ramp_(base, ramp(start, step))

    with repeatable(accelerator.device):
        train(settings, engine, corpus, out, rows=rows, saver=saver, before_step=raise_valve, unit=STEPS[after])
    raise_valve(settings.schedule.steps)
    losses.measure(after, engine.model, corpus.valid, micro)
    _finish(settings, loaded, engine, out)
    accelerator.free_memory()


def _arranged_(base: PreTrainedModel, settings: Finetuning) -> Any:
    """Leaves gradients on for what is trained, V-scale aside, which comes later; returns the model to call."""
    if settings.gradient_checkpointing:
        recompute_activations_(base)
        if settings.train != "all":
            base.enable_input_require_grads()
    if settings.train == "theta":
        base.requires_grad_(False)
    return with_lora(base, settings.lora or LoraSettings()) if settings.train == "lora" else base


def _finish(settings: Finetuning, loaded: Loaded, engine: Engine, out: Path) -> None:
    """Leaves the finished model, in the dtype of its base's checkpoint. Every process must call this."""
    if settings.train == "all":
        engine.bare.to(getattr(torch, loaded.checkpoint_dtype))
        finish(engine, out, whole_saver(loaded.model, loaded.tokenizer))
        return
    main = engine.accelerator.is_main_process
    if settings.train == "theta" and main:
        with building_folder(out / MODEL) as building:
            save_vscale(loaded.model, building, base=base_of(loaded))
    if settings.train == "lora" and main:
        _merge(settings, loaded, engine.bare, out)
    engine.accelerator.wait_for_everyone()


def _merge(settings: Finetuning, loaded: Loaded, model: Any, out: Path) -> None:
    """Adds the low-rank layers to the base's weights, which are loaded anew: the trained ones may be quantized."""
    with building_folder(out / ADAPTER) as building:
        model.save_pretrained(building)
    fresh = load_model(
        settings.model,
        revision=loaded.revision,
        gguf_file=settings.gguf_file,
        device="cpu",
        trust_remote_code=settings.trust_remote_code,
    )
    valves = attached(loaded.model)
    if attached(fresh.model):
        detach_(fresh.model)
    whole = merged(fresh.model, out / ADAPTER)
    if valves:
        attach_(whole, variant=valves[0].variant, scale=[valve.scale.cpu() for valve in valves])
        for valve, trained in zip(attached(whole), valves, strict=True):
            valve.theta.data.copy_(trained.theta)
        set_ramp_(whole, float(valves[0].ramp))
    with building_folder(out / MODEL) as building:
        whole_saver(whole, fresh.tokenizer).save(building, whole.state_dict())
