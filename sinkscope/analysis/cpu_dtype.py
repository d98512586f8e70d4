"""The dtype of an analysis where `auto` does not stand for the checkpoint's: said, and settled for all processes."""

from dataclasses import replace

from sinkscope.analysis.settings import AnalysisRequest
from sinkscope.launch.group import Processes
from sinkscope.loading.quantizer import stored_dtype
from sinkscope.loading.resolve import Resolved
from sinkscope.models.shape import default_tokens
from sinkscope.planning.configured import read_configuration
from sinkscope.planning.cpu_dtype import Widened, widened
from sinkscope.planning.machine import this_machine
from sinkscope.progress.display import say


def with_dtype(
    request: AnalysisRequest,
    resolved: Resolved,
    *,
    held_as: str | None,
    device: str,
    processes: Processes | None,
    begun: str | None = None,
) -> tuple[AnalysisRequest, str | None]:
    """The request with the dtype that `auto` stands for here, and why, where that is not the checkpoint's.

    Args:
        request: the analysis.
        resolved: what its model's name stands for.
        held_as: the quantization that weights are held in, or None.
        device: of this process.
        processes: share the analysis, and take what the first one chooses.
        begun: the dtype of unfinished work that is gone on with, which no other trial of the processor may change; None
            where there is none.
    """
    windows = request.windows

    def choose() -> Widened | None:
        if resolved.unsupported is not None:
            return None  # which loading says
        return widened(
            replace(request.model, device=device),
            resolved,
            this_machine(),
            held_as=held_as,
            tokens=windows.tokens or default_tokens(read_configuration(resolved).config),
            sequences=windows.count,
            batch_size=windows.batch_size,
            begun=begun,
        )

    choice = choose() if processes is None else processes.from_first(choose)
    if choice is None:
        return request, None
    if processes is None or processes.main:
        say(f"dtype: {choice.why}; `dtype={stored_dtype(resolved.config)}` keeps it")
    return replace(request, model=replace(request.model, dtype=choice.source.dtype)), choice.why
