"""What a user names: a model, a text, the windows that are cut from it, and a place for what comes out.

The command line, the library, recipes, run.json and resumed work share these objects. They load nothing and look at
nothing on disk; whether a model or a text exists is found out by `loading` and `text`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from sinkscope.durations import seconds_of
from sinkscope.errors import RequestError
from sinkscope.fields import Section, described
from sinkscope.names import ADAPTERS, MODEL_METHODS

BOS = ("auto", "always", "never")
MOST = 2**31 - 1
"""Of whatever is counted: sequences, tokens, modules."""
DEFAULT_SEQUENCES = 32


class _Json:
    """To JSON and back, for dataclasses whose values are plain."""

    def as_json(self) -> dict[str, Any]:
        """Every field, JSON-serializable."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The object that `as_json` made, or one with defaults for what is missing; other keys are passed over."""
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        return cls(**{name: values[name] for name in names if name in values})


def name_as_text(given: object, *fields: str) -> None:
    """Turns a path in fields that hold names into text, inside `__post_init__` of a frozen dataclass."""
    for field in fields:
        if isinstance(getattr(given, field), Path):
            object.__setattr__(given, field, str(getattr(given, field)))


@dataclass(frozen=True)
class ModelSource(_Json):
    """A model by name, and how it is loaded.

    Attributes:
        name: `demo` or `demo-vscale`, a local folder (`./demo` is one too), a GGUF file, or an id of the Hugging Face
            Hub.
        revision: branch, tag or commit of a Hub model.
        gguf_file: name of a GGUF file in the folder or the Hub's repository, which holds the model.
        dtype: `auto` keeps the checkpoint's (an analysis takes float32 on a CPU that is slow in 16 bit, and says so);
            else `float32`, `bfloat16` or `float16`.
        device: `auto` is the first GPU, else the CPU; or a torch device.
        device_map: spreads the model over several devices, instead of `device`.
        quantize: a quantization method, of `methods.choose`, that the model is measured under; None is the model as it
            is. `nf4` and `int8` quantize the weights while they are loaded.
        trust_remote_code: lets Python code that comes with the model run.
        adapter: what to do about a peft adapter beside the weights: `refuse` the folder, `ignore` it, or `merge` it.
        allow_deviations: measures a model whose files and config.json do not agree: stored tensors without a place are
            left out, those that are missing or of another shape are drawn at random, and run.json lists them.
    """

    name: str = described(
        "demo",
        "demo, demo-vscale, a local folder (./demo is one too), a GGUF file, or a Hugging Face model id.",
        Section.MODEL,
        option="model",
        positional=True,
    )
    revision: str | None = described(None, "Branch, tag or commit of a Hub model.", Section.MODEL)
    gguf_file: str | None = described(
        None, "The GGUF file, of a folder or a Hub repository, that the model is in.", Section.MODEL, values="NAME"
    )
    dtype: str = described(
        "auto",
        "Dtype to load in; auto keeps the checkpoint's.",
        Section.MODEL,
        values="auto|float32|bfloat16|float16",
    )
    device: str = described("auto", "auto, cpu, cuda, cuda:1, ...", Section.MODEL)
    device_map: str | None = described(
        None, "Spread the model over devices.", Section.MODEL, values="auto|balanced|balanced_low_0|sequential"
    )
    quantize: str | None = described(
        None, f"Quantization method to measure the model under: {MODEL_METHODS}.", Section.MODEL, values="METHOD"
    )
    trust_remote_code: bool = described(False, "Let Python code that comes with the model run.", Section.MODEL)
    adapter: str = described(
        "refuse", "What to do about a peft adapter beside the weights.", Section.MODEL, values="|".join(ADAPTERS)
    )
    allow_deviations: bool = described(
        False, "Measure a model whose weights and config.json disagree, and record where.", Section.MODEL
    )

    def __post_init__(self) -> None:
        name_as_text(self, "name")
        if self.adapter not in ADAPTERS:
            raise RequestError(f"`adapter` is {', '.join(ADAPTERS[:-1])} or {ADAPTERS[-1]}, not {self.adapter}")


def refuse_huge(request: Any, *names: str) -> None:
    """Refuses counts that no machine could hold, before anything is loaded for them.

    Raises:
        RequestError: naming the field.
    """
    for name in names:
        value = getattr(request, name)
        if value is not None and value > MOST:
            raise RequestError(f"`{name}` must be at most 2^31 - 1")


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """How a quantization method is put on a model.

    Attributes:
        modules: shell patterns, separated by commas, of the linear modules that a probe quantizes; None is all.
        calibration_data: a source of text to calibrate on, read from its start as the evaluated text is read; what None
            stands for is the verb's to say.
        calibration_sequences: windows of it; None is as many as are evaluated.
        allow_install: whether methods may install what they need into an environment of their own.
        environment: where that environment is; None is the usual place.
    """

    modules: str | None = described(
        None,
        "Linear modules that probes quantize, as '*.mlp.*,*.o_proj'; default: all.",
        Section.QUANTIZATION,
        values="GLOB",
    )
    calibration_data: str | None = described(
        None,
        "Text to calibrate on, as `data`; default: stdlib, there behind the text that is evaluated.",
        Section.QUANTIZATION,
        values="SOURCE",
    )
    calibration_sequences: int | None = described(
        None, "Sequences of it; default: as `sequences`.", Section.QUANTIZATION
    )
    allow_install: bool = described(
        False, "Let smoothquant, gptq and awq install llm-compressor into its own environment.", Section.QUANTIZATION
    )
    environment: Path | None = described(
        None,
        "That environment's folder; default: $SINKSCOPE_LLMCOMPRESSOR, or ~/.cache/sinkscope/llmcompressor.",
        Section.QUANTIZATION,
    )

    def __post_init__(self) -> None:
        name_as_text(self, "calibration_data")
        if self.calibration_sequences is not None and self.calibration_sequences < 1:
            raise RequestError("`calibration_sequences` must be at least 1")
        refuse_huge(self, "calibration_sequences")


@dataclass(frozen=True)
class TextSource(_Json):
    """A text by name, and how it is read.

    Attributes:
        data: `stdlib` (what every Python installation holds; `stdlib-prose` and `stdlib-code` are its two halves), a
            .txt, .jsonl or .parquet file, a folder of them, or the name of a data set of the `datasets` library.
        config: configuration of a data set.
        split: split of a data set.
        streaming: read a data set while it downloads.
        column: field that holds a row's text.
        special_tokens: take what spells a special token, as `<bos>`, for that token; by default it is text.
    """

    data: str = described(
        "stdlib",
        "stdlib, stdlib-prose, stdlib-code, a .txt, .jsonl or .parquet file, a folder of them, or a datasets name.",
        Section.DATA,
    )
    config: str | None = described(None, "Configuration of a dataset.", Section.DATA, option="data_config")
    split: str = described("train", "Split of a dataset.", Section.DATA, option="data_split")
    streaming: bool = described(False, "Read a dataset while it downloads.", Section.DATA, option="data_streaming")
    column: str = described("text", "Field that holds a row's text.", Section.DATA, option="data_column")
    special_tokens: bool = described(
        False, "Take what spells a special token, as <bos>, for that token.", Section.DATA, option="data_special_tokens"
    )

    def __post_init__(self) -> None:
        name_as_text(self, "data")
        if not self.data:
            raise RequestError("`data` is empty: name a text, or leave it out for stdlib")

    def provenance(self) -> dict[str, Any]:
        """What run.json says of the text: its `source`, and how it was read where that is no default."""
        plain = TextSource()
        options = {name: value for name, value in self.as_json().items() if value != getattr(plain, name)}
        options.pop("data", None)
        return {"source": self.data, **options}


@dataclass(frozen=True)
class Windows(_Json):
    """The windows of tokens that are cut from a text, and how many are read at once.

    Attributes:
        bos: `always` or `never` force or forbid a <bos> at the start of each window; `auto` follows the tokenizer.
        sequences: N, how many windows; None is 32, or as many of them as `budget` allows.
        tokens: T, their length; None is the model's context, at most 2048, or as much of it as `budget` allows.
        batch_size: windows per forward pass; the numbers do not depend on it.
        isolate_documents: keep documents that share a window from attending to each other.
        budget: the time that the work shall fit, as `90s`, `5m` or `2h`: it chooses what of `sequences` and `tokens`
            is not given, never more than their defaults.
    """

    bos: str = described(
        "auto",
        "<bos> at the start of each sequence; auto: as the tokenizer does.",
        Section.DATA,
        values="auto|always|never",
    )
    sequences: int | None = described(
        None, "Number of sequences; by default 32, or what `budget` allows.", Section.DATA
    )
    tokens: int | None = described(
        None, "Tokens per sequence; by default the model's context, at most 2048.", Section.DATA
    )
    batch_size: int = described(1, "Sequences per forward pass; the numbers do not depend on it.", Section.DATA)
    isolate_documents: bool = described(False, "Keep packed documents from attending to each other.", Section.DATA)
    budget: str | None = described(
        None,
        "Time to fit: chooses the `sequences` and `tokens` that are not given.",
        Section.DATA,
        values="90s|5m|2h",
    )

    def __post_init__(self) -> None:
        if self.budget is not None:
            object.__setattr__(self, "budget", str(self.budget))  # a program may give a number of seconds
            seconds_of(self.budget)
        if self.bos not in BOS:
            raise RequestError(f"`bos` is {', '.join(BOS[:-1])} or {BOS[-1]}, not {self.bos}")
        if self.sequences is not None and self.sequences < 1:
            raise RequestError("there is no sequence to measure: `sequences` must be at least 1")
        if self.batch_size < 1:
            raise RequestError("`batch_size` must be at least 1")
        refuse_huge(self, "sequences", "tokens", "batch_size")

    @property
    def count(self) -> int:
        """N where no budget chooses it."""
        return DEFAULT_SEQUENCES if self.sequences is None else self.sequences


@dataclass(frozen=True)
class Output:
    """Where a run goes, and what happens to what is there.

    Attributes:
        out: the run folder; None leaves the choice to the verb.
        force: replace an older run there.
        resume: go on with an interrupted one.
    """

    out: Path | None = described(None, "Folder for the run; by default runs/<model>.", Section.OUTPUT)
    force: bool = described(False, "Replace an existing run folder.", Section.OUTPUT)
    resume: bool = described(False, "Go on with an interrupted run.", Section.OUTPUT)
