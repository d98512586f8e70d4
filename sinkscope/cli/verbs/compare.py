"""`sinkscope compare`: from runs, or models, to a comparison with verdicts."""

import sys
from pathlib import Path

from sinkscope.cli import options
from sinkscope.cli.output import command_line, show


def compare(
    runs: options.Runs,
    allow_mismatch: options.AllowMismatch = False,
    margin: options.Margin = 1.25,
    draws: options.Draws = 2000,
    seed: options.DrawSeed = 0,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    device_map: options.DeviceMap = None,
    quantize: options.Quantize = None,
    trust_remote_code: options.TrustRemoteCode = False,
    data: options.LikeData = None,
    data_config: options.DataConfig = None,
    data_split: options.DataSplit = "train",
    data_streaming: options.DataStreaming = False,
    data_column: options.DataColumn = "text",
    sequences: options.LikeSequences = None,
    tokens: options.LikeTokens = None,
    batch_size: options.BatchSize = 1,
    out: options.ComparisonOut = Path("runs/comparison"),
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Compare runs, or models measured alike, with the first of them."""
    from sinkscope.comparison.members import gather, members
    from sinkscope.tables.run_folder import check_target, write_run

    chosen = members(runs)
    check_target(out, force=force)
    gathered = gather(
        chosen,
        data=data,
        data_options={"config": data_config, "split": data_split, "streaming": data_streaming, "column": data_column},
        sequences=sequences,
        tokens=tokens,
        batch_size=batch_size,
        progress=sys.stderr.isatty(),
        dtype=dtype,
        device=device,
        device_map=device_map,
        quantize=quantize,
        trust_remote_code=trust_remote_code,
    )
    from sinkscope.comparison.conditions import QUANTIZATION
    from sinkscope.comparison.run import compare_runs
    from sinkscope.report.render import render

    named = [(member.name, run) for member, run in zip(chosen, gathered, strict=True)]
    analyses = [(name, run) for name, run in named if run.info.get("kind") != QUANTIZATION]
    run = compare_runs(
        [run for _, run in analyses],
        [name for name, _ in analyses],
        allow_mismatch=allow_mismatch,
        margin=margin,
        draws=draws,
        seed=seed,
        quantized={name: run for name, run in named if run.info.get("kind") == QUANTIZATION},
    )
    run.info["command"] = command_line()
    write_run(run, out, force=force, finish=lambda building: render(run, building))
    show(run, out, json=json)
