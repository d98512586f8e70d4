"""What to evaluate: the options of an evaluation, and everything that one is asked for in one object."""

import math
from dataclasses import dataclass, field

from sinkscope.errors import RequestError
from sinkscope.fields import Section, described
from sinkscope.inputs import MethodOptions, ModelSource, Output, TextSource, Windows, name_as_text

DEFAULT_DOCUMENTS, DEFAULT_SEEDS = 32, 5
VARIANTS = ("single_2", "single_3", "multikey_1")


@dataclass(frozen=True)
class EvaluationSettings:
    """Options of an evaluation.

    Attributes:
        perplexity: whether the perplexity of the text is measured.
        window: tokens that the model reads at once; None takes its context, at most 2048.
        stride: tokens scored per window; None takes half of the window.
        documents: how many documents are scored, the first of the source; None is 32, or what a budget allows.
        characters: each document is cut after this many characters, at a blank. The text that is scored thereby does
            not depend on the tokenizer.
        variants: the kinds of needles, of `VARIANTS`; empty leaves them out.
        lengths: context lengths of the needles in tokens, prompt and answer together; None takes half of the model's
            context and all of it, at most 2048.
        depths: how many depths from the start to the end of the haystack, evenly spaced.
        seeds: needles per variant, length and depth; None is 5, or what a budget allows.
        new_tokens: tokens to generate; None takes those of the value and `needles.SLACK` more.
        yarn: factor by which YaRN extends the context; None leaves the model alone.
        tasks: tasks of lm-evaluation-harness; `paper` stands for `tasks.PAPER`.
        tasks_path: a folder with task definitions of one's own.
        limit: samples per task; None takes all.
        seed: of everything random.
        draws: bootstrap samples.
    """

    perplexity: bool = described(True, "Measure no perplexity.", Section.PERPLEXITY, only_off=True)
    window: int | None = described(
        None, "Tokens read at once; by default the context, at most 2048.", Section.PERPLEXITY
    )
    stride: int | None = described(None, "Tokens scored per window; by default half of the window.", Section.PERPLEXITY)
    documents: int | None = described(
        None,
        "Documents to score, the first of the source; by default 32, or what `budget` allows.",
        Section.PERPLEXITY,
        before="window",
    )
    characters: int = described(8000, "Where each document is cut.", Section.PERPLEXITY, before="window")
    variants: tuple[str, ...] = described(
        VARIANTS, "Kinds of needles, by commas.", Section.NEEDLES, values=f"none|{','.join(VARIANTS)}", or_none=True
    )
    lengths: tuple[int, ...] | None = described(
        None,
        "Context lengths in tokens; by default half the context and all of it.",
        Section.NEEDLES,
        values="N,N,...",
    )
    depths: int = described(5, "Depths from the haystack's start to its end.", Section.NEEDLES)
    seeds: int | None = described(
        None, "Needles per kind, length and depth; by default 5, or what `budget` allows.", Section.NEEDLES
    )
    new_tokens: int | None = described(None, "Tokens to generate; by default the value's and 16 more.", Section.NEEDLES)
    yarn: float | None = described(
        None,
        "Extend the context by this factor with YaRN, in memory.",
        Section.MODEL,
        before="trust_remote_code",
    )
    tasks: tuple[str, ...] = described(
        (), "Tasks of lm-evaluation-harness, by commas; paper stands for arXiv:2603.17771's.", Section.TASKS
    )
    tasks_path: str | None = described(None, "Folder with task definitions of your own.", Section.TASKS)
    limit: int | None = described(None, "Samples per task; by default all.", Section.TASKS)
    seed: int = described(0, "Seed of needles and bootstrap.", Section.OUTPUT)
    draws: int = 1000

    def __post_init__(self) -> None:
        unknown = [variant for variant in self.variants if variant not in VARIANTS]
        checks = {
            f"`variants` knows {', '.join(VARIANTS)} and none, not {', '.join(unknown)}": not unknown,
            "`window` must be at least 2": self.window is None or self.window >= 2,
            "`stride` must be at least 1": self.stride is None or self.stride >= 1,
            "`documents` must be at least 1": self.documents is None or self.documents >= 1,
            "`characters` must be at least 1": self.characters >= 1,
            "`lengths` must be positive": self.lengths is None or all(length > 0 for length in self.lengths),
            "`lengths` is empty": self.lengths is None or len(self.lengths) > 0,
            "`depths` must be at least 1": self.depths >= 1,
            "`seeds` must be at least 1": self.seeds is None or self.seeds >= 1,
            "`seed` must be from 0 to 2^32 - 1": 0 <= self.seed < 2**32,
            "`new_tokens` must be at least 1": self.new_tokens is None or self.new_tokens >= 1,
            "`yarn` is a factor above 1": self.yarn is None or (math.isfinite(self.yarn) and self.yarn > 1),
            "`limit` must be at least 1": self.limit is None or self.limit >= 1,
            "`tasks_path` is for `tasks`, and there are none": self.tasks_path is None or bool(self.tasks),
            "there is nothing to evaluate: `perplexity=False`, `variants=none`, and no `tasks`": bool(
                self.perplexity or self.variants or self.tasks
            ),
        }
        for complaint, holds in checks.items():
            if not holds:
                raise RequestError(complaint)


@dataclass(frozen=True)
class EvaluationRequest:
    """An evaluation of a model by name.

    Attributes:
        model: the model.
        method: how the quantization method that it names is put on it.
        text: whose perplexity is measured.
        windows: how it is read: <bos>, and windows, prompts or requests per forward pass.
        haystack: a source of text, as `text.data` is, that hides the needles.
        settings: what is evaluated.
        output: where the run is going to be saved.
    """

    model: ModelSource = field(default_factory=ModelSource)
    method: MethodOptions = field(default_factory=MethodOptions, kw_only=True)
    text: TextSource = field(default_factory=TextSource)
    windows: Windows = field(default_factory=Windows)
    haystack: str = "stdlib"
    settings: EvaluationSettings = field(default_factory=EvaluationSettings)
    output: Output = field(default_factory=Output)

    def __post_init__(self) -> None:
        name_as_text(self, "haystack")
