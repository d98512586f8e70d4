"""How runs are compared, what models among them read, and everything that a comparison is asked for in one object."""

from dataclasses import dataclass, field

from sinkscope.errors import RequestError
from sinkscope.fields import Section, described
from sinkscope.inputs import MethodOptions, ModelSource, Output, TextSource

FEWEST_DRAWS = 100


@dataclass(frozen=True)
class ComparisonSettings:
    """Options of a comparison.

    Attributes:
        allow_mismatch: compare runs on different data, or with different settings, all the same; every page then says
            so, and intervals are unpaired where the windows differ.
        margin: ratios within 1/margin .. margin count as the same; above 1.
        paired_seeds: the n-th runs of all names are a pair: same initialization, same batches. Their ratios are taken
            pair by pair, so that what a seed does to both cancels.
        draws: how many bootstrap draws.
        seed: of the draws.
    """

    allow_mismatch: bool = described(
        False, "Compare runs on different data or with different settings, flagged.", Section.COMPARISON
    )
    margin: float = described(1.25, "Ratios within 1/margin to margin count as the same.", Section.COMPARISON)
    paired_seeds: bool = described(
        False, "The n-th runs of all names share their initialization and batches: ratios by pairs.", Section.COMPARISON
    )
    draws: int = described(2000, "Bootstrap draws.", Section.COMPARISON)
    seed: int = described(0, "Seed of the draws.", Section.COMPARISON)

    def __post_init__(self) -> None:
        if not self.margin > 1:
            raise RequestError(f"the margin of a comparison lies above 1, and {self.margin:g} does not")
        if self.draws < FEWEST_DRAWS:
            raise RequestError(f"{self.draws} bootstrap draws are too few for an interval: use at least {FEWEST_DRAWS}")
        if not 0 <= self.seed < 2**32:
            raise RequestError("`seed` must be from 0 to 2^32 - 1")


@dataclass(frozen=True)
class LikeFirst:
    """What the models of a comparison read; None is as in the first run that is known.

    Attributes:
        data: a source of text, as `TextSource.data`; `stdlib` where no run is known.
        sequences: N; 32 where no run is known.
        tokens: T; the model's context, at most 2048, where no run is known.
        batch_size: windows per forward pass.
    """

    data: str | None = described(
        None, "Text for models; by default that of the first run, else stdlib.", Section.DATA, before="config"
    )
    sequences: int | None = described(
        None, "Sequences for models; by default as in the first run, else 32.", Section.DATA
    )
    tokens: int | None = described(
        None, "Tokens per sequence for models; by default as in the first run.", Section.DATA
    )
    batch_size: int = described(1, "Sequences per forward pass; the numbers do not depend on it.", Section.DATA)


@dataclass(frozen=True)
class ComparisonRequest:
    """A comparison of runs and models by name.

    Attributes:
        runs: `RUN`, `NAME=RUN`, or `NAME=RUN,RUN,...` each, a RUN being a run folder or a model; the reference first.
        settings: how they are compared.
        model: how models among them are loaded; its name is not used.
        method: how the quantization method that it names is put on them.
        text: how the text of models is read; its `data` is not used.
        like: what models read.
        output: where the comparison is going to be saved.
        command: of models that are analyzed on the way, for their provenance.
    """

    runs: tuple[str, ...]
    settings: ComparisonSettings = field(default_factory=ComparisonSettings)
    model: ModelSource = field(default_factory=ModelSource)
    method: MethodOptions = field(default_factory=MethodOptions, kw_only=True)
    text: TextSource = field(default_factory=TextSource)
    like: LikeFirst = field(default_factory=LikeFirst)
    output: Output = field(default_factory=Output)
    command: str | None = None
