"""`sinkscope evaluate`: from a model to what it can do: perplexity, needles in a haystack, tasks."""

import sys

from sinkscope.cli import options
from sinkscope.cli.output import command_line, default_folder, show
from sinkscope.errors import RequestError
from sinkscope.evaluation.settings import VARIANTS, EvaluationSettings

_VARIANTS = ",".join(VARIANTS)


def evaluate(
    model: options.Model = "demo",
    revision: options.Revision = None,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    device_map: options.DeviceMap = None,
    quantize: options.Quantize = None,
    yarn: options.Yarn = None,
    trust_remote_code: options.TrustRemoteCode = False,
    data: options.Data = "stdlib",
    data_config: options.DataConfig = None,
    data_split: options.DataSplit = "train",
    data_streaming: options.DataStreaming = False,
    data_column: options.DataColumn = "text",
    bos: options.Bos = "auto",
    batch_size: options.BatchSize = 1,
    no_perplexity: options.NoPerplexity = False,
    documents: options.Documents = EvaluationSettings.documents,
    characters: options.Characters = EvaluationSettings.characters,
    window: options.Window = None,
    stride: options.Stride = None,
    variants: options.Variants = _VARIANTS,
    lengths: options.Lengths = None,
    depths: options.Depths = EvaluationSettings.depths,
    seeds: options.NeedleSeeds = EvaluationSettings.seeds,
    new_tokens: options.NewTokens = None,
    haystack: options.Haystack = "stdlib",
    tasks: options.Tasks = None,
    tasks_path: options.TasksPath = None,
    limit: options.Limit = None,
    seed: options.EvaluationSeed = EvaluationSettings.seed,
    out: options.EvaluationOut = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Evaluate a model: perplexity, needles in a haystack, tasks of lm-evaluation-harness."""
    settings = EvaluationSettings(
        perplexity=not no_perplexity,
        window=window,
        stride=stride,
        documents=documents,
        characters=characters,
        variants=() if variants == "none" else _items(variants),
        lengths=None if lengths is None else _numbers("lengths", lengths),
        depths=depths,
        seeds=seeds,
        new_tokens=new_tokens,
        yarn=yarn,
        tasks=_items(tasks or ""),
        tasks_path=tasks_path,
        limit=limit,
        seed=seed,
    )
    usual = default_folder(model)
    folder = out if out is not None else usual.with_name(f"{usual.name}-evaluation")
    from sinkscope.tables.run_folder import check_target

    check_target(folder, force=force)

    from sinkscope.evaluation import run

    evaluation = run.evaluate(
        model,
        data=data,
        data_options={
            "config": data_config,
            "split": data_split,
            "streaming": data_streaming,
            "column": data_column,
        },
        haystack=haystack,
        bos=bos,
        batch_size=batch_size,
        settings=settings,
        progress=sys.stderr.isatty(),
        revision=revision,
        dtype=dtype,
        device=device,
        device_map=device_map,
        quantize=quantize,
        trust_remote_code=trust_remote_code,
    )
    evaluation.info["command"] = command_line()
    evaluation.save(folder, force=force)
    show(evaluation.run, folder, json=json)


def _items(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item.strip() for item in text.split(",") if item.strip()))


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(int(item) for item in _items(text)))
    except ValueError as error:
        raise RequestError(f"`{option}` takes whole numbers by commas, as 512,1024, not {text}") from error
