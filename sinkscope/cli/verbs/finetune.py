"""`sinkscope finetune`: train a finished model on, with V-scale, and report what that changed."""

import sys

import typer

from sinkscope.cli import options
from sinkscope.cli.output import command_line, default_folder, show
from sinkscope.launch.environment import is_main_process


def finetune(
    model: options.Model = "demo",
    vscale: options.VScale = False,
    vscale_variant: options.VScaleVariant = "learned",
    vscale_init: options.VScaleInit = "calibrated",
    vscale_warmup: options.VScaleWarmup = 0,
    control: options.Control = True,
    train: options.Train = "all",
    lora: options.Lora = False,
    lora_rank: options.LoraRank = 16,
    load_in: options.LoadIn = None,
    steps: options.FinetuneSteps = 100,
    lr: options.Lr = None,
    warmup: options.Warmup = None,
    optimizer: options.Optimizer = "adamw",
    batch_sequences: options.BatchSequences = 8,
    micro_sequences: options.MicroSequences = None,
    weight_decay: options.WeightDecay = 0.1,
    clip: options.Clip = 1.0,
    precision: options.Precision = "auto",
    gradient_checkpointing: options.GradientCheckpointing = False,
    compile_: options.Compile = False,
    seed: options.Seed = None,
    checkpoint_every: options.CheckpointEvery = 500,
    evaluate_every: options.EvaluateEvery = 50,
    monitor: options.Monitor = None,
    data: options.Data = "stdlib",
    data_config: options.DataConfig = None,
    data_split: options.DataSplit = "train",
    data_streaming: options.DataStreaming = False,
    data_column: options.DataColumn = "text",
    bos: options.Bos = "auto",
    tokens: options.Tokens = None,
    valid_sequences: options.ValidSequences = 32,
    revision: options.Revision = None,
    trust_remote_code: options.TrustRemoteCode = False,
    device: options.Device = "auto",
    out: options.Out = None,
    report: options.Report = True,
    log_to: options.LogTo = None,
    resume: options.Resume = False,
) -> None:
    """Train a finished model on, with V-scale on its values, and compare before and after."""
    from sinkscope.errors import RequestError
    from sinkscope.finetuning.settings import CONTEXT, RATES, Finetuning, LoraSettings, VScaleStart
    from sinkscope.training.recipe import CheckpointConfig, DataConfig, OptimizerConfig, ScheduleConfig

    if lora and train == "theta":
        raise RequestError("`lora` and `train=theta` exclude each other")
    start = VScaleStart(vscale_variant, vscale_init, vscale_warmup)
    if not vscale and start != VScaleStart():
        raise RequestError("`vscale_variant`, `vscale_init` and `vscale_warmup` need `vscale`")
    trained = "lora" if lora else train
    folder = out if out is not None else default_folder(f"{model}-finetuned")
    settings = Finetuning(
        model=model,
        revision=revision,
        trust_remote_code=trust_remote_code,
        train=trained,
        lora=LoraSettings(rank=lora_rank, alpha=2 * lora_rank) if trained == "lora" else None,
        load_in=load_in,
        vscale=start if vscale else None,
        data=DataConfig(
            source=data,
            tokens=tokens or CONTEXT,
            bos=bos,
            valid_sequences=valid_sequences,
            config=data_config,
            split=data_split,
            streaming=data_streaming,
            column=data_column,
        ),
        optimizer=OptimizerConfig(
            lr=lr if lr is not None else RATES.get(trained, 0.0),
            batch_sequences=batch_sequences,
            micro_sequences=micro_sequences,
            name=optimizer,
            weight_decay=weight_decay,
            clip=clip,
        ),
        schedule=ScheduleConfig(steps=steps, warmup=warmup if warmup is not None else max(1, steps // 10)),
        checkpoint=CheckpointConfig(every=checkpoint_every, evaluate=evaluate_every, keep=2),
        seed=seed or 0,
        precision=precision,
        compile=compile_,
        gradient_checkpointing=gradient_checkpointing,
        monitor=monitor or 0,
    )

    from sinkscope.finetuning.run import finetune as run

    done = run(
        settings,
        folder,
        control=control and settings.vscale is not None and settings.train != "theta",
        resume=resume,
        device=device,
        log_to=log_to,
    )
    if not is_main_process():
        return
    if report:
        from sinkscope.finetuning.before_after import report as before_after

        compared = before_after(done, folder, command=command_line(), progress=sys.stderr.isatty())
        show(compared, folder / "report")
    typer.echo(f"model: {done.model}")
    if done.control is not None:
        typer.echo(f"control: {done.control}")
    typer.echo(f"checkpoints: {folder / 'checkpoints'}")
    typer.echo(f"metrics: {folder / 'metrics.parquet'}")
