"""Putting V-scale on a model that is about to be finetuned, and what that does to its loss at once."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.finetuning.settings import VScaleStart
from sinkscope.vscale import attach_, calibrated_scale, set_ramp_

CALIBRATION_WINDOWS = 32


def start_vscale_(model: PreTrainedModel, start: VScaleStart, windows: Tensor) -> None:
    """Attaches V-scale as `start` says, in place.

    Args:
        model: the base model.
        start: how.
        windows: text to calibrate on [N, T]; where C is calibrated, it runs through the model once.
    """
    scale = None
    if start.init == "calibrated":
        training = model.training
        model.eval()
        scale = [of_layer.to(model.device) for of_layer in calibrated_scale(model, windows)]
        model.train(training)
    attach_(model, variant=start.variant, scale=scale)
    set_ramp_(model, ramp(start, 0))


def ramp(start: VScaleStart, step: int) -> float:
    """The factor on C before step `step`: rising from 0 in a straight line over the warm-up, then 1."""
    return 1.0 if step >= start.warmup else step / start.warmup


def calibration_windows(count: int) -> Tensor:
    """Numbers of the training windows that calibration reads: the first ones."""
    return torch.arange(min(count, CALIBRATION_WINDOWS))
