"""run.json by kind of run: every key that may be there, in order."""

from sinkscope.provenance.key import Key, RunKind, under, without
from sinkscope.provenance.shared_keys import CLOSING, DATA, HOW_READ, MEASURED, MEASURING, MODEL, OPENING

_HEADLINE = (
    Key(
        "headline.*",
        "number or list of integer or null",
        "By name, as docs/quantities.md explains them; null: not measured.",
    ),
)

_ANALYSIS = (
    Key("model", "object", "What was measured."),
    *under("model", *MODEL),
    Key("data", "object", "What it read."),
    *under("data", *DATA),
    Key("sink_tokens", "list of objects", "Positions that hold sinks, ascending."),
    Key("sink_tokens[].position", "integer", "Position."),
    Key("sink_tokens[].token", "text", "Its most frequent token."),
    Key("sink_tokens[].share", "number", "That token's share of the sinks."),
    Key("sink_tokens[].sinks", "integer", "Sinks there."),
    Key("not_applicable", "object", "What the architecture has no counterpart of."),
    Key("not_applicable.*", "text", "Why, by site, table or quantity."),
    Key("driver", "text", "How the passes were made: resident, layer by layer or streamed.", always=False),
    Key("processes", "integer", "How many shared the windows.", always=False),
    *under("settings", *MEASURED),
    *_HEADLINE,
)
_TRACK = (
    Key("model", "object", "What was measured, as it is at the last checkpoint."),
    *under("model", *without(MODEL, "revision", "weights_sha256", "sha256")),
    Key("model.revision", "text or null", "Pattern of a Hub model's revisions, as it was given."),
    Key("model.weights_sha256", "null", "Every checkpoint has its own."),
    Key("data", "object", "What every checkpoint read."),
    *under("data", *DATA),
    Key("checkpoints", "list of objects", "What was measured, by step."),
    Key("checkpoints[].step", "integer", "Training step."),
    Key("checkpoints[].name", "text", "Folder or revision."),
    Key("checkpoints[].revision", "text or null", "Commit of a Hub model."),
    Key("checkpoints[].weights_sha256", "text or null", "Hash of a folder's safetensors files."),
    Key(
        "checkpoints[].sha256",
        "text or null",
        "Hash of all that it is made of, as `model.sha256` of an analysis.",
        added=True,
    ),
    Key("checkpoints[].same_as", "integer", "The earlier step that it is over again, by its hash.", always=False),
    Key("checkpoints[].seconds", "number", "Time of its measurement."),
    Key("failed", "list of objects", "Checkpoints that could not be measured."),
    Key("failed[].name", "text", "Folder or revision."),
    Key("failed[].reason", "text", "Why."),
    *under("settings", *MEASURED),
    *_HEADLINE,
)
_EVALUATION = (
    Key("model", "object", "What was evaluated."),
    *under("model", *MODEL),
    Key("model.context", "integer or null", "Longest sequence that its configuration allows, extended by YaRN or not."),
    Key("model.yarn", "number or null", "Factor by which YaRN extended the context."),
    Key("data", "object", "What it read. Without perplexity, `source` and `haystack` alone."),
    Key("data.source", "text", "The text whose perplexity was measured; without one the haystack, or `tasks`."),
    *under("data", *HOW_READ),
    Key("data.sha256", "text", "Hash of the texts, each followed by a zero byte.", always=False),
    Key("data.documents", "integer", "Documents.", always=False),
    Key("data.tokens", "integer", "Their tokens.", always=False),
    Key("data.words", "integer", "Their words, separated by whitespace.", always=False),
    Key("data.bytes", "integer", "Their bytes in UTF-8.", always=False),
    Key("data.prefix", "text", "The token that every document's first window starts with.", always=False),
    Key("data.haystack", "text or null", "The text that needles were hidden in."),
    Key("settings.perplexity", "boolean", "Whether perplexity was measured."),
    Key("settings.window", "integer or null", "Tokens that the model read at once."),
    Key("settings.stride", "integer or null", "Tokens scored per window."),
    Key("settings.documents", "integer", "Documents that were asked for."),
    Key("settings.characters", "integer", "Where a document was cut."),
    Key("settings.variants", "list of text", "Kinds of needles."),
    Key("settings.lengths", "list of integer or null", "Context lengths of the needles, in tokens."),
    Key("settings.depths", "integer", "Depths of the needles."),
    Key("settings.seeds", "integer", "Needles per kind, length and depth."),
    Key(
        "settings.new_tokens", "integer or null", "Tokens to generate; null: as many as the value has, and a few more."
    ),
    Key("settings.yarn", "number or null", "Factor by which YaRN extended the context."),
    Key("settings.tasks", "list of text", "Tasks of lm-evaluation-harness."),
    Key("settings.tasks_path", "text or null", "A folder of one's own tasks."),
    Key("settings.limit", "integer or null", "Samples per task; null: all."),
    Key("settings.seed", "integer", "Of everything random."),
    Key("settings.draws", "integer", "Bootstrap samples."),
    Key("settings.batch_size", "integer", "Windows, prompts or requests per forward pass."),
    Key("headline.*", "number or null", "By name; those of parts that were left out are not there."),
)
_QUANTIZATION = (
    Key("models", "list of objects", "What was quantized, each as it is unquantized."),
    *under("models[]", *without(MODEL, "method")),
    Key("data", "object", "What the models read."),
    *under("data", *without(DATA, "sha256", "bos")),
    Key(
        "data.sha256", "object", "Hash of the token ids of all windows, which are as each model's tokenizer makes them."
    ),
    Key("data.sha256.*", "text", "By model."),
    Key("data.bos", "text", "As asked for: auto, always or never."),
    Key("data.comparable", "boolean", "Whether all models read the same windows."),
    Key("notes", "list of text", "What to know about single methods."),
    Key("saved", "object", "The checkpoint that was written.", always=False),
    Key("saved.folder", "text", "Its folder, as it was named."),
    Key("saved.method", "text", "The method of the row that it is of."),
    Key("saved.mitigation", "text", "The mitigation of that row, or none."),
    Key("saved.by", "text", "Why that row: it was named, or by which rule it is the best."),
    Key("saved.format", "text", "The name that compressed-tensors has for what is stored."),
    Key("settings.methods", "list of text", "Methods, in order."),
    Key("settings.modules", "text or null", "Patterns of the linear modules that probes quantize; null: all."),
    Key("settings.mitigate", "list of text", "Mitigations, in order.", added=True),
    Key(
        "settings.calibration_data",
        "text or null",
        "Text for calibration; null: the evaluated one, where `settings.calibration_windows` says.",
    ),
    Key("settings.calibration_sequences", "integer", "Windows of it that were asked for, or that there were."),
    Key(
        "settings.calibration_windows",
        "text or null",
        "`behind` the evaluated windows, or of a text that was `named`; null: nothing calibrated, or, in older runs, "
        "the evaluated windows themselves.",
        added=True,
    ),
    Key(
        "settings.calibrated_methods",
        "list of text",
        "Methods that fit scales or weights to the calibration windows.",
        added=True,
    ),
    Key("settings.rank_by", "text or null", "The probe that modules are ranked by."),
    Key("settings.rank_sequences", "integer", "Windows that the ranking ran on."),
    Key("settings.rank_limit", "integer", "Modules that were ranked at most."),
    Key("settings.seed", "integer", "Of the bootstrap."),
    Key("settings.batch_size", "integer", "Windows per forward pass."),
    Key("settings.backward", "boolean", "False: no gradients are measured."),
    Key("headline.*", "object", "By model."),
    Key("headline.*.*", "object", "By method."),
    Key("headline.*.*.perplexity", "number or null", "exp of the mean loss per token."),
    Key("headline.*.*.delta", "number or null", "Loss minus that of the unquantized model, nats per token."),
)
_ABLATION = (
    Key("model", "object", "What things were taken away from."),
    *under("model", *MODEL),
    Key("data", "object", "What it read."),
    *under("data", *DATA),
    Key("from", "object", "The analysis that says what there is to take away."),
    Key("from.name", "text or null", "Its folder's name; null: measured first, on the same windows."),
    Key("from.data_sha256", "text or null", "Hash of the token ids of its windows."),
    Key("from.sinks", "list of integer", "Positions that are sinks in at least half of its sequences."),
    Key("from.massive_layers", "list of integer", "Layers whose output has massive activations."),
    Key("notes", "list of text", "What was not done, and why."),
    Key("settings.what", "list of text", "What was asked for."),
    Key("settings.where", "list of text", "Where massive activations were taken away."),
    Key("settings.layers", "list of integer or null", "Layers that were acted in; null: all that the analysis names."),
    Key("settings.by_layer", "boolean", "Whether every layer was acted in alone, too."),
    Key("settings.renormalize", "boolean", "Whether rows sum to 1 again where the attention to a sink is taken away."),
    Key("settings.cache_positions", "list of text", "How positions count under a sliding cache."),
    Key("settings.draws", "integer", "Controls per intervention."),
    Key("settings.measured", "integer", "Sequences that the headline quantities were measured on."),
    Key("settings.backward", "boolean", "Whether gradients were among them."),
    Key("settings.margin", "number", "Perplexities whose ratio lies within 1/margin .. margin count as the same."),
    Key("settings.needles", "boolean", "Whether needles were asked for."),
    Key("settings.lengths", "list of integer or null", "Their context lengths, in tokens."),
    Key("settings.seeds", "integer", "Needles per length and depth."),
    Key("settings.seed", "integer", "Of controls, needles and bootstrap."),
    Key("settings.batch_size", "integer", "Windows per forward pass."),
    Key("headline.*", "object", "By intervention and place."),
    Key("headline.*.change", "number or null", "Loss minus that of the untouched model, nats per token."),
    Key("headline.*.change_low", "number or null", "Lower end of its interval."),
    Key("headline.*.change_high", "number or null", "Upper end of its interval."),
    Key("headline.*.control_change", "number or null", "The same of the control; null: there is none."),
    Key("headline.*.verdict", "text", "Against the untouched model."),
    Key("headline.*.control_verdict", "text", "Against the control."),
)
_COMPARED = (
    Key("model", "object", "As in its run.json."),
    *under("model", *MODEL),
    Key("data", "object", "As in its run.json."),
    *under("data", *DATA),
    Key("settings", "object", "As in its run.json."),
    *under("settings", *MEASURED),
    MEASURING[0],
    *(key for key in CLOSING if key.name.startswith("versions")),
    *(key for key in OPENING if key.name in ("sinkscope", "created", "command")),
    Key("headline", "object", "As in its run.json."),
    *_HEADLINE,
)
_COMPARISON = (
    Key("reference", "text", "Name of the run that all are compared with."),
    Key("runs", "list of objects", "What is compared, by name, the reference first."),
    Key("runs[].name", "text", "Name."),
    Key("runs[].seeds", "integer", "Analyses under this name: seeds of one training."),
    Key("runs[].layers", "integer", "Decoder layers."),
    Key("runs[].measured", "list of objects", "The analyses under this name."),
    *under("runs[].measured[]", *_COMPARED),
    Key("notes", "list of text", "What to know, for the first page."),
    Key("mismatches", "list of text", "What differs in data and settings."),
    Key("paired", "boolean", "Whether all read the same windows, so that intervals are paired."),
    Key("layers_differ", "boolean", "Whether the models have different numbers of layers."),
    Key("settings.backward", "boolean", "Whether any of the runs measured gradients."),
    Key("settings.margin", "number", "Ratios within 1/margin .. margin count as the same."),
    Key("settings.draws", "integer", "Bootstrap draws."),
    Key("settings.seed", "integer", "Of the draws."),
    Key("settings.allow_mismatch", "boolean", "Whether runs may differ in data and settings."),
    Key("settings.paired_seeds", "boolean", "Whether the n-th runs of all names are pairs of one seed.", added=True),
    Key("headline.*", "object", "By metric."),
    Key("headline.*.*", "object", "By name of the run."),
    Key("headline.*.*.value", "number or null", "Mean over seeds."),
    Key("headline.*.*.ratio", "number or null", "Over the reference's."),
    Key("headline.*.*.ratio_low", "number or null", "Lower end of the ratio's interval."),
    Key("headline.*.*.ratio_high", "number or null", "Upper end of the ratio's interval."),
    Key("headline.*.*.verdict", "text", "As docs/comparison.md defines it."),
)
_REPRODUCTION = (
    Key("scale", "text or null", "The scale that was trained; null: a model that there was."),
    Key("reference", "text", "The model that the others are set against."),
    Key("runs", "list of objects", "What was measured, the reference first."),
    Key("runs[].name", "text", "Name."),
    Key("runs[].seeds", "integer", "Trainings."),
    Key("runs[].layers", "integer", "Decoder layers."),
    Key("runs[].recipe", "text", "Recipe, or the model's name."),
    Key("data", "object", "What every model read."),
    *under("data", *(key for key in DATA if key.name in ("source", "sequences", "tokens"))),
    Key("trained", "object or null", "How the models were trained; null: they were not."),
    Key("trained.*", "text or number", "By key of the recipe."),
    Key("mismatches", "list of text", "What differs in data and settings between the models."),
    Key("paired", "boolean", "Whether all read the same windows."),
    Key("layers_differ", "boolean", "Whether the models have different numbers of layers."),
    Key("notes", "list of text", "What differs from the paper's setting, and what that means."),
    Key(
        "commit",
        "text or null",
        "Of the checkout that wrote the report, with `with changes` behind where some were not committed; null: an "
        "installed package.",
        added=True,
    ),
    Key("settings.backward", "boolean", "Whether gradients were measured."),
    Key("settings.seeds", "integer", "Trainings of each model."),
    Key("headline.*", "text", "Verdict by test."),
)


def _kind(name: str, meaning: str, own: tuple[Key, ...], shared: tuple[Key, ...]) -> RunKind:
    """All keys of a kind, each behind what it stands under."""
    keys: list[Key] = [key for key in own if not key.name.startswith(("settings", "headline"))]
    for key in shared:
        keys.append(key)
        if key.name in ("settings", "headline"):
            keys += [each for each in own if each.name.startswith(key.name)]
    return RunKind(name, meaning, (*OPENING, *keys), own)


KINDS = {
    kind.name: kind
    for kind in (
        _kind("ablation", "Of `ablate`.", _ABLATION, (*MEASURING, *CLOSING)),
        _kind("analysis", "Of `analyze`, and of a `Scope`.", _ANALYSIS, (*MEASURING, *CLOSING)),
        _kind("comparison", "Of `compare`, and the report of `finetune`.", _COMPARISON, CLOSING),
        _kind("evaluation", "Of `evaluate`.", _EVALUATION, (*MEASURING, *CLOSING)),
        _kind("quantization", "Of `quantize`.", _QUANTIZATION, (*MEASURING, *CLOSING)),
        _kind("reproduction", "Of `reproduce`.", _REPRODUCTION, CLOSING),
        _kind("track", "Of `track`.", _TRACK, (*MEASURING, *CLOSING)),
    )
}
