"""`sinkscope finetune`: train a finished model on, with V-scale, and report what that changed."""

from typing import Annotated

from sinkscope.cli import options
from sinkscope.cli.output import (
    command_line,
    default_folder,
    refuse_mistaken,
    show,
    take_place,
    tell_training,
    training_resumable,
)
from sinkscope.cli.signature import Offered
from sinkscope.fields import Section
from sinkscope.finetuning.options import FinetuneOptions
from sinkscope.inputs import ModelSource, Output, TextSource, Windows
from sinkscope.launch.collector import importing
from sinkscope.launch.environment import is_main_process
from sinkscope.progress.display import ended
from sinkscope.terminal import tell


def finetune(
    training: FinetuneOptions,
    text: TextSource,
    windows: Annotated[Windows, Offered("bos", "tokens")],
    model: Annotated[ModelSource, Offered("name", "revision", "gguf_file", "trust_remote_code", "device")],
    output: Annotated[
        Output,
        Offered(
            "out",
            "resume",
            out={"text": "Folder for the run; by default runs/<model>-finetuned."},
            resume={"text": "Continue from the newest checkpoint below `out`.", "section": Section.TRAINING},
        ),
    ],
    valid_sequences: options.ValidSequences = 32,
    report: options.Report = True,
) -> None:
    """Train a finished model on, with V-scale on its values, and compare before and after."""
    refuse_mistaken(model, text=text)
    settings = training.settings(model, text, windows, valid_sequences)
    folder = output.out if output.out is not None else default_folder(f"{model.name}-finetuned")

    take_place(folder)
    with importing():
        from sinkscope.finetuning.before_after import SEQUENCES
        from sinkscope.finetuning.run import finetune as run

    with training_resumable(folder):
        done = run(
            settings,
            folder,
            control=training.with_control,
            resume=output.resume,
            device=model.device,
            log_to=training.log_to,
            analyzed=SEQUENCES if report else 0,
        )
        if not is_main_process():
            return
        if report:
            from sinkscope.finetuning.before_after import REPORT
            from sinkscope.finetuning.before_after import report as before_after

            show(before_after(done, folder, command=command_line()).run, folder / REPORT)
    ended()
    tell(f"model: {done.model}")
    if done.control is not None:
        tell(f"control: {done.control}")
    tell_training(folder)
