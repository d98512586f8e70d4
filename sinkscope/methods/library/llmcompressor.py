"""llm-compressor: SmoothQuant W8A8, GPTQ W4A16 and AWQ W4A16, run in an environment of its own.

The base model goes to a temporary folder, `oneshot.py` quantizes it there, and the compressed-tensors checkpoint that
it leaves is loaded here. V-scale travels beside the weights: it is attached while the script calibrates, so that scales
and Hessians are those of the values that attention sees, and again when the checkpoint is loaded.
"""

import contextlib
import io
import json
import os
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from sinkscope.errors import SinkscopeError
from sinkscope.loading.load import Loaded, load_model
from sinkscope.methods.library import virtual_environment
from sinkscope.methods.library.method import LoadRequest, Method
from sinkscope.models.families import Family, Feature, family_of
from sinkscope.vscale.saved import INFO_FILE, WEIGHTS_FILE
from sinkscope.vscale.saved import save as save_vscale

SCRIPT = Path(__file__).with_name("oneshot.py")


def quantized(request: LoadRequest, method: str) -> Loaded:
    """The model as llm-compressor's method leaves it.

    Raises:
        SinkscopeError: if the environment cannot be made, or the method fails in it.
    """
    folder = virtual_environment.prepare(request.environment)
    with tempfile.TemporaryDirectory(prefix="sinkscope-") as scratch:
        base, out = Path(scratch) / "base", Path(scratch) / method
        has_vscale = _save_base(request, base, method)
        windows = Path(scratch) / "windows.safetensors"
        save_file({"input_ids": _windows(request).contiguous()}, windows)
        job = {"base": str(base), "method": method, "vscale": has_vscale, "windows": str(windows), "out": str(out),
               "sinkscope": str(Path(__file__).parents[3])}  # fmt: skip
        _run(virtual_environment.python_of(folder), job, Path(scratch) / "job.json")
        for name in (WEIGHTS_FILE, INFO_FILE) if has_vscale else ():
            shutil.copy(base / name, out)
        for file in base.glob("*token*"):
            shutil.copy(file, out)
        loading = {
            key: value for key, value in request.loading.items() if key not in ("revision", "gguf_file", "adapter")
        }
        with contextlib.redirect_stderr(io.StringIO()):  # compressed-tensors' progress bars
            return load_model(str(out), **loading)


def _windows(request: LoadRequest) -> Tensor:
    if request.calibration_ids is None:
        raise ValueError("llm-compressor's methods calibrate, and there are no windows")
    return request.calibration_ids


def check_awq(family: Family) -> None:
    """Refuses families for which AWQ with V-scale would move its factors through other modules than it means.

    With V-scale the pairs of modules between which factors move are named by `oneshot.py`, as Llama has them.

    Raises:
        SinkscopeError: for a family that is built otherwise.
    """
    llama = Family(family.model_type)
    alike = ("structure", "attention_norm", "mlp_norm", "down", "norm", "experts")
    fused = {Feature.FUSED_QKV, Feature.FUSED_GATE, Feature.LATENT} & {*family.features}
    if fused or any(getattr(family, name) != getattr(llama, name) for name in alike):
        raise SinkscopeError(f"awq with V-scale needs blocks built and named as Llama's, and '{family.model_type}' has "
                             "others: use gptq or smoothquant")  # fmt: skip


def _save_base(request: LoadRequest, base: Path, method: str) -> bool:
    """Saves the unquantized model with its tokenizer; returns whether it has V-scale."""
    loaded = load_model(request.model, **request.loading)
    if method == "awq" and loaded.vscale is not None:
        check_awq(family_of(loaded.model))
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars
        if loaded.vscale is not None:
            save_vscale(loaded.model, base)
        else:
            loaded.model.save_pretrained(base)
    loaded.tokenizer.save_pretrained(base)
    return loaded.vscale is not None


def _run(python: Path, job: dict[str, Any], file: Path) -> None:
    file.write_text(json.dumps(job), encoding="utf-8")
    done = subprocess.run(  # noqa: S603
        virtual_environment.isolated(python, SCRIPT, file),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
    )
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        raise SinkscopeError(f"llm-compressor's {job['method']} failed in {python.parents[1]}: {lines[-1]}")


def _versions(chosen: Path | None) -> dict[str, str]:
    return {"llmcompressor": virtual_environment.installed(virtual_environment.location(chosen)) or "unknown"}


def _method(name: str, bits: tuple[int, int | None], granularity: str, vscale: str, no_gradient: str = "") -> Method:
    return Method(
        name,
        *bits,
        granularity,
        partial(quantized, method=name),
        "compressed_tensors",
        "llmcompressor",
        check=virtual_environment.check,
        versions=_versions,
        vscale_note=vscale,
        calibrates=True,
        no_gradient=no_gradient,
    )


_ATTACHED = "calibrated with V-scale attached"
METHODS = (
    _method("smoothquant", (8, 8), "W per channel, A per token, smoothed 0.8", _ATTACHED,
            "compressed-tensors rounds activations without a derivative"),
    _method("gptq", (4, None), "W in groups of at most 128", _ATTACHED),
    _method("awq", (4, None), "W in groups of at most 128, scaled", f"{_ATTACHED}, and without the factors from v_proj "
            "into o_proj, which V-scale would not pass on"),
)  # fmt: skip
