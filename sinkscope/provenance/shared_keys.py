"""Keys of run.json that several kinds of run have."""

from sinkscope.provenance.key import Key, under

_MOST = 10**6  # of anything in a model

OPENING = (
    Key("kind", "text", "What kind of run this is, as listed below."),
    Key("schema", "integer", "Version of this declaration; another one is not read."),
    Key("sinkscope", "text", "Version of sinkscope."),
    Key("created", "text", "When: ISO 8601, UTC."),
    Key("command", "text", "The command line; not there where a program made the run.", always=False),
)
MEASURING = (
    Key("device", "text", "Where the model computed, as torch names it; of several models, the last."),
    Key("seconds", "number", "From the start to the end of the work."),
    Key(
        "peak_memory_bytes",
        "integer",
        "Peak memory: of the CUDA allocator on a GPU, of the process elsewhere; of several processes, the largest.",
    ),
    Key("plan", "object", "What was expected before the first pass; not there where nobody asked.", always=False),
    Key("plan.seconds", "number", "All that lay ahead, the drawing of the report included."),
    Key("plan.stages", "object", "The same by stage."),
    Key("plan.stages.*", "number", "Seconds."),
    Key("plan.trial_seconds", "number", "What finding out took."),
    Key("plan.tokens_per_second", "number", "Measured rate of the passes."),
    Key("plan.memory_bytes", "integer or null", "Memory needed; null: the model was in memory."),
    Key("plan.free_bytes", "integer or null", "Memory that was free before the model was loaded."),
    Key("plan.budget", "text or null", "The time to fit, as it was asked for."),
    Key("plan.chosen", "object", "What was chosen to fit it."),
    Key("plan.chosen.*", "integer", "By field, as `sequences`."),
)
CLOSING = (
    Key("settings", "object", "What was asked for, completed by what follows from the model."),
    Key("conventions", "object", "Definitions that have rivals, in words."),
    Key("conventions.*", "text", "By what is defined."),
    Key("versions", "object", "Versions of the interpreter and of the libraries that the numbers depend on."),
    Key("versions.*", "text", "By library."),
    Key("tables", "list of text", "The parquet files beside run.json, without their suffix."),
    Key("headline", "object", "The numbers that one sees first."),
)
HOW_READ = (
    Key("config", "text", "Configuration of a data set, where one was named.", always=False),
    Key("split", "text", "Split of a data set, where it is not `train`.", always=False),
    Key("streaming", "boolean", "True where a data set was read while it downloaded.", always=False),
    Key("column", "text", "Field that held a row's text, where it is not `text`.", always=False),
    Key(
        "special_tokens",
        "boolean",
        "True where what spelled a special token was taken for it; it is text elsewhere.",
        always=False,
    ),
)
MODEL = (
    Key("name", "text", "As it was named."),
    Key("revision", "text or null", "Commit of a Hub model."),
    Key(
        "weights_sha256", "text or null", "Hash of a folder's safetensors files, one after another, or of a GGUF file."
    ),
    Key(
        "sha256",
        "text or null",
        "Hash of all that the model is made of: weights or commit, config.json but for what changes no number, the "
        "code that comes with it, V-scale, an adapter that was put on. Null: a program loaded it.",
        added=True,
    ),
    Key("adapter_sha256", "text", "Hash of the peft adapter that was merged into the weights.", always=False),
    Key("deviations", "list of objects", "Where the model is not what its files hold.", always=False),
    Key("deviations[].kind", "text", "`unused`, `fresh`, `reshaped`, `head`, `adapter` or `dequantized`."),
    Key("deviations[].why", "text", "What it is."),
    Key("deviations[].count", "integer", "Tensors."),
    Key("deviations[].tensors", "list of text", "Their names; of more than a hundred, numbers are `*`."),
    Key("deviations[].allowed", "boolean", "Whether `allow_deviations` or `adapter` had to allow it."),
    Key("family", "text", "Architecture, by transformers' `model_type`."),
    Key("layers", "integer", "Decoder layers.", least=1, most=_MOST),
    Key("heads", "integer", "Query heads.", least=1, most=_MOST),
    Key("kv_heads", "integer", "Key/value heads.", least=1, most=_MOST),
    Key("hidden_size", "integer", "Channels of the residual stream.", least=1, most=_MOST),
    Key("head_dim", "integer", "Channels of a value head.", least=1, most=_MOST),
    Key("parameters", "integer", "All parameters, as the model is in memory."),
    Key("dtype", "text", "What it ran in."),
    Key("dtype_chosen", "text", "Why `dtype=auto` took another dtype than the checkpoint's.", always=False),
    Key(
        "quantization",
        "text or null",
        "The quantization method that it was measured under, or that of a checkpoint that is stored quantized.",
    ),
    Key("vscale", "text or null", "Variant of V-scale."),
    Key("method", "object", "How it was put under that method; not there for a stored one.", always=False),
    Key("method.weight_bits", "integer or null", "Bits of the weights; null: as they are."),
    Key("method.activation_bits", "integer or null", "Bits of the activations; null: as they are."),
    Key("method.granularity", "text", "What shares a scale."),
    Key("method.modules", "text or null", "Patterns of the linear modules that a probe quantizes; null: all."),
    Key("method.library", "text", "The library whose method it is, with its version.", always=False),
    Key("method.note", "text", "What to know of that method on a model with V-scale.", always=False),
    Key("method.calibration", "object", "The text that it was calibrated on, where it calibrates.", always=False),
    Key("method.calibration.source", "text", "As it was named."),
    *under("method.calibration", *HOW_READ),
    Key("method.calibration.skipped_documents", "integer", "Documents before it, left out as they are evaluated."),
    Key("method.calibration.sequences", "integer", "Windows."),
    Key("method.calibration.tokens", "integer", "Tokens of each."),
    Key("method.calibration.bos", "boolean", "Whether every window starts with a forced `<bos>`."),
    Key("method.calibration.sha256", "text", "Hash of the token ids of all windows."),
    Key(
        "method.gradients",
        "text",
        "How gradients pass a probe's rounding, where they are measured: `exact` (weights alone are rounded) or "
        "`straight-through`.",
        always=False,
    ),
    Key("gguf", "object", "The GGUF file that the model was unpacked from.", always=False),
    Key("gguf.file", "text", "Its name."),
    Key("gguf.sha256", "text", "Its hash."),
    Key("gguf.tensors", "object", "How many of its tensors are stored in which type."),
    Key("gguf.tensors.*", "integer", "By type, as F32 or Q4_K."),
)
DATA = (
    Key("source", "text", "As it was named; `user` for windows that a program gave."),
    *HOW_READ,
    Key("sha256", "text or null", "Hash of the token ids of all windows."),
    Key("sequences", "integer", "Windows.", least=1),
    Key("tokens", "integer", "Tokens of the longest window."),
    Key("bos", "boolean or null", "Whether every window starts with a forced `<bos>`; null where that is not known."),
    Key("isolated_documents", "boolean", "Whether packed documents were kept from attending to each other."),
    Key("targets", "integer", "Tokens that were predicted."),
)
MEASURED = (
    Key("sink_epsilon", "number", "A head is a sink where alpha exceeds this."),
    Key("sink_window", "integer", "Queries that alpha averages over, the token itself included."),
    Key("early", "integer", "Last position of the early window."),
    Key("positions", "integer", "Early positions that have rows in the tables, 16 at least."),
    Key("columns", "text", "Where column statistics are taken: `early` or `all`."),
    Key("backward", "boolean", "Whether gradients were measured."),
    Key("batch_size", "integer", "Windows per forward pass; not there where a program made the passes.", always=False),
)
