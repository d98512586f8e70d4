"""Makes what the documentation shows of real runs: its pictures, and what the terminal printed.

    python docs/from_runs.py [RUNS]

RUNS (runs/smollm2-135m by default) is the folder that the scripts in reports/smollm2-135m fill. Pictures go to
docs/images, each a page of a report, drawn from the tables of its run. What stands in a page between
`<!-- output: RUN -->` and `<!-- output: end -->` is printed anew by the summary of that run. Nothing is made of a run
that is not there, which is said.
"""

import argparse
import io
from pathlib import Path

from PIL import Image
from rich.console import Console

from sinkscope.errors import SinkscopeError
from sinkscope.report.kinds import kind_of
from sinkscope.runs import Run, read_run

DOCS = Path(__file__).parent
IMAGES = DOCS / "images"
ANALYSIS, FINETUNE = "analyze/stdlib-prose-bos-never", "finetune/report"
FIGURES = {  # run: the beginning of the pictures' names, and the pages
    ANALYSIS: (
        "analyze",
        (
            "verdict",
            "attention_maps",
            "sink_heatmap",
            "sink_rate",
            "token_norms",
            "value_drain",
            "gradient_sink",
            "pathways",
            "reshaping",
            "massive_activations",
            "extremes",
            "bounds",
        ),
    ),
    "quantize": ("quantize", ("damage", "parts", "noise", "ranking", "histograms", "outliers")),
    "evaluate/w8a8-static": ("evaluate", ("needles", "contexts")),
    "compare": ("compare", ("ratios", "by_layer", "gradient_sinks")),
    FINETUNE: ("finetune", ("comparison", "training", "theta")),
    "ablate": ("ablate", ("damage", "positions", "quantities", "super_weights")),
    "track": ("track", ("evolution", "layers")),
}
HERO = (ANALYSIS, "chain", "smollm2-chain.png")
_WIDTH = 88  # columns, as many as a page of the site has
# Runs whose tables would be squeezed by that, or would lack columns.
_WIDE = {ANALYSIS: 118, "quantize": 118, "ablate": 130, "track": 118}
_BEGIN, _END = "<!-- output: ", "<!-- output: end -->"


def picture(run: Run, figure: str, path: Path, dpi: int = 96) -> None:
    """Draws a page of a report into a PNG of few colours, which is a third as large and looks the same."""
    drawn = io.BytesIO()
    run.figure(figure).savefig(drawn, format="png", dpi=dpi)
    flat = Image.open(drawn).convert("RGB")
    flat.quantize(96, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)


def printed(run: Run, width: int) -> str:
    """What the terminal shows of a run, as a block of markdown."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as made:
        console.print(kind_of(run).summary(run))
    lines = [line.rstrip() for line in made.get().splitlines()]
    return "\n".join(["```text", *lines, "```"])


def renewed(page: str, runs: Path) -> str:
    """A page with what the terminal printed between its marks, of every run that is there."""
    parts = page.split(_BEGIN)
    for number, part in enumerate(parts[1:], 1):
        name = part.partition(" -->")[0]
        if _END.removeprefix(_BEGIN) == f"{name} -->":
            continue
        if (runs / name / "run.json").is_file():
            parts[number] = f"{name} -->\n{printed(read_run(runs / name), _WIDE.get(name, _WIDTH))}\n"
    return _BEGIN.join(parts)


def main(runs: Path) -> None:
    """Draws every picture and prints every output again."""
    IMAGES.mkdir(exist_ok=True)
    for name, (prefix, figures) in FIGURES.items():
        try:
            run = read_run(runs / name)
        except SinkscopeError as error:
            print(f"left as it is: {error}")  # noqa: T201
            continue
        for figure in figures:
            picture(run, figure, IMAGES / f"{prefix}-{figure.replace('_', '-')}.png")
    name, figure, image = HERO
    if (runs / name).is_dir():
        picture(read_run(runs / name), figure, IMAGES / image, dpi=150)
    for path in sorted(DOCS.rglob("*.md")):
        page = path.read_text(encoding="utf-8")
        if _BEGIN in page:
            path.write_text(renewed(page, runs), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="?", default=Path("runs/smollm2-135m"))
    main(parser.parse_args().runs)
