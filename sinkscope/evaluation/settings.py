"""What to evaluate: the options of an evaluation."""

import math
from dataclasses import dataclass

from sinkscope.errors import RequestError

VARIANTS = ("single_2", "single_3", "multikey_1")


@dataclass(frozen=True)
class EvaluationSettings:
    """Options of an evaluation.

    Attributes:
        perplexity: whether the perplexity of the text is measured.
        window: tokens that the model reads at once; None takes its context, at most 2048.
        stride: tokens scored per window; None takes half of the window.
        documents: how many documents are scored, the first of the source.
        characters: each document is cut after this many characters, at a blank. The text that is scored thereby does
            not depend on the tokenizer.
        variants: the kinds of needles, of `VARIANTS`; empty leaves them out.
        lengths: context lengths of the needles in tokens, prompt and answer together; None takes half of the model's
            context and all of it, at most 2048.
        depths: how many depths from the start to the end of the haystack, evenly spaced.
        seeds: needles per variant, length and depth.
        new_tokens: tokens to generate; None takes those of the value and `needles.SLACK` more.
        yarn: factor by which YaRN extends the context; None leaves the model alone.
        tasks: tasks of lm-evaluation-harness; `paper` stands for `tasks.PAPER`.
        tasks_path: a folder with task definitions of one's own.
        limit: samples per task; None takes all.
        seed: of everything random.
        draws: bootstrap samples.
    """

    perplexity: bool = True
    window: int | None = None
    stride: int | None = None
    documents: int = 32
    characters: int = 8000
    variants: tuple[str, ...] = VARIANTS
    lengths: tuple[int, ...] | None = None
    depths: int = 5
    seeds: int = 5
    new_tokens: int | None = None
    yarn: float | None = None
    tasks: tuple[str, ...] = ()
    tasks_path: str | None = None
    limit: int | None = None
    seed: int = 0
    draws: int = 1000

    def __post_init__(self) -> None:
        unknown = [variant for variant in self.variants if variant not in VARIANTS]
        checks = {
            f"`variants` knows {', '.join(VARIANTS)} and none, not {', '.join(unknown)}": not unknown,
            "`window` must be at least 2": self.window is None or self.window >= 2,
            "`stride` must be at least 1": self.stride is None or self.stride >= 1,
            "`documents` must be at least 1": self.documents >= 1,
            "`characters` must be at least 1": self.characters >= 1,
            "`lengths` must be positive": self.lengths is None or all(length > 0 for length in self.lengths),
            "`lengths` is empty": self.lengths is None or len(self.lengths) > 0,
            "`depths` must be at least 1": self.depths >= 1,
            "`seeds` must be at least 1": self.seeds >= 1,
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
