"""`sinkscope quantize`: what quantization methods cost models, in a run folder."""

import sys

from sinkscope.cli import options
from sinkscope.cli.output import command_line, show


def quantize(
    models: options.Models,
    out: options.QuantizationOut,
    methods: options.Methods = "none,w8a8-dynamic,w8a8-static,w8a8-static-down,nf4,int8",
    modules: options.Modules = None,
    calibration_data: options.CalibrationData = None,
    calibration_sequences: options.CalibrationSequences = None,
    rank_by: options.RankBy = None,
    rank_sequences: options.RankSequences = 4,
    rank_limit: options.RankLimit = 64,
    seed: options.BootstrapSeed = 0,
    allow_install: options.AllowInstall = False,
    environment: options.Environment = None,
    revision: options.Revision = None,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    device_map: options.DeviceMap = None,
    trust_remote_code: options.TrustRemoteCode = False,
    data: options.Data = "stdlib",
    data_config: options.DataConfig = None,
    data_split: options.DataSplit = "train",
    data_streaming: options.DataStreaming = False,
    data_column: options.DataColumn = "text",
    bos: options.Bos = "auto",
    sequences: options.Sequences = 32,
    tokens: options.Tokens = None,
    batch_size: options.BatchSize = 1,
    isolate_documents: options.IsolateDocuments = False,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Quantize models by several methods and measure what each costs, where, and by how much."""
    from sinkscope.tables.run_folder import check_target

    check_target(out, force=force)

    from sinkscope.quantization import run

    analysis = run.quantize(
        models,
        [name.strip() for name in methods.split(",")],
        modules=modules,
        data=data,
        data_options={
            "config": data_config,
            "split": data_split,
            "streaming": data_streaming,
            "column": data_column,
        },
        sequences=sequences,
        tokens=tokens,
        batch_size=batch_size,
        bos=bos,
        isolate_documents=isolate_documents,
        calibration_data=calibration_data,
        calibration_sequences=calibration_sequences,
        rank_by=rank_by,
        rank_sequences=rank_sequences,
        rank_limit=rank_limit,
        seed=seed,
        allow_install=allow_install,
        environment=environment,
        progress=sys.stderr.isatty(),
        revision=revision,
        dtype=dtype,
        device=device,
        device_map=device_map,
        trust_remote_code=trust_remote_code,
    )
    analysis.info["command"] = command_line()
    analysis.save(out, force=force)
    show(analysis.run, out, json=json)
