"""What unfinished work keeps beside its place, and what a training says of itself: written and read by this project."""

from typing import Any

from pydantic import BaseModel

from sinkscope.documents.types import THEIRS, Count, Flag, Name, Number, Size, Text

Request = dict[Text, Any]
"""request.json and settings.json: what a work is for. It is compared, key by key, with what is asked for now."""
Losses = dict[Text, Number]
"""losses.json of a finetuning: held-out losses in nats by moment."""


class TokensNote(BaseModel):
    """How far a token file is."""

    model_config = THEIRS

    tokens: Count
    documents: Count
    complete: Flag
    tokens_sha256: Text


class Schedule(BaseModel):
    """The part of a training's settings that a track reads."""

    model_config = THEIRS

    steps: Size


class Trained(BaseModel):
    """settings.json of a finished training."""

    model_config = THEIRS

    schedule: Schedule


class Calibration(BaseModel):
    """What the checkpoints of a track are calibrated on, beside its windows."""

    model_config = THEIRS

    batch_size: Size
    provenance: dict[Text, Any]


class TrackShared(BaseModel):
    """shared.json of a track: what all checkpoints read, beside their windows."""

    model_config = THEIRS

    sha256: Name
    bos: Flag
    calibration: Calibration | None
    plan: dict[Text, Any] | None
    files: dict[Text, Text]


class Measured(BaseModel):
    """What a track keeps of a checkpoint's analysis: its run.json and rows of tables, which their rooms declare."""

    model_config = THEIRS

    info: dict[Text, Any]
    rows: dict[Text, dict[Text, list[Any]]]


class TrackResult(BaseModel):
    """step-N.json of a track: the result, and the files that it was measured on."""

    model_config = THEIRS

    fingerprint: Any
    result: Measured
