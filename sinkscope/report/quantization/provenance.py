"""Everything that a reader needs to repeat or to doubt a number of a quantization run."""

from sinkscope.report.analysis.provenance import model_facts, run_facts, section
from sinkscope.report.entry import Entry
from sinkscope.report.page import LEFT, RIGHT, Page
from sinkscope.report.text import printable
from sinkscope.tables.run_folder import Run

_MIDDLE = 0.5
_MODELS = 4
_KEPT = ("name", "revision", "weights_sha256", "family", "layers", "hidden_size", "parameters", "dtype", "vscale",
         "gguf_file", "gguf_tensors")  # fmt: skip


def draw(run: Run) -> Page:
    """Run, data and models on the left; settings, versions and conventions on the right."""
    page = Page()
    info = run.info
    left = section(page, "Run", run_facts(run), 0.895, LEFT, _MIDDLE - 0.02)
    data = {**info["data"], "sha256": ", ".join(sorted({value[:12] for value in info["data"]["sha256"].values()}))}
    left = section(page, "Data", data, left, LEFT, _MIDDLE - 0.02)
    several = len(info["models"]) > 2
    for number, model in enumerate(map(model_facts, info["models"][:_MODELS]), start=1):
        facts = {
            key: model[key] for key in _KEPT if key in model and (key in ("name", "weights_sha256") or not several)
        }
        facts = {key: printable(value, 40) if key == "weights_sha256" else value for key, value in facts.items()}
        left = section(page, f"Model {number}", facts, left, LEFT, _MIDDLE - 0.02)
    right = section(page, "Settings", info["settings"], 0.895, _MIDDLE, RIGHT)
    versions = {"libraries": ", ".join(f"{name} {value}" for name, value in info["versions"].items())}
    right = section(page, "Versions", versions, right, _MIDDLE, RIGHT)
    section(page, "Conventions", info["conventions"], right, _MIDDLE, RIGHT)
    return page


ENTRY = Entry(
    "provenance",
    "Provenance: how these numbers came about",
    draw,
    "The same, and more, is in run.json, and every number of this report in the parquet tables beside it, with the "
    "loss of each single sequence in `losses`.",
    words=True,
)
