"""Takes over what is committed here of the runs that `demo.sh` and `demo_trio.sh` made.

    python reports/keep.py RUNS

RUNS is the folder of their runs. Of a run the report, its run.json and here and there a table are kept; nothing is
kept of a run that is not there, which is said.

Of every finished reproduction RUNS/NAME (`sinkscope reproduce --out RUNS/NAME`) the report goes to
`reproduction/SCALE`, or `reproduction/MODEL`: report.pdf, run.json, README.md, and its tables as parquet and CSV. A
table that is larger than `LARGEST` is named and left out.
"""

import argparse
import json
import shutil
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
KEPT = {  # run: its name among the committed files, "report.pdf" standing for a report that has a folder for itself
    "demo": ("demo", "report.pdf", "run.json"),
    "demo-comparison": ("demo-comparison", "report.pdf", "run.json", "comparison.parquet"),
    "demo-quantization": ("demo-quantization", "report.pdf", "run.json", "quantization.csv"),
    "demo-mitigations": ("demo-quantization/mitigations", "report.pdf", "run.json", "quantization.csv"),
    "demo-quantization-libraries": ("demo-quantization/libraries", "report.pdf", "run.json", "quantization.csv"),
    "demo-evaluation": ("demo-evaluation", "report.pdf", "run.json"),
    "demo-vscale-evaluation": ("demo-evaluation", "demo-vscale.pdf", "demo-vscale.json"),
    "demo-finetuned/report": ("demo-finetune", "report.pdf", "run.json"),
    "demo-vscale": ("demo-trio", "demo-vscale.pdf", "demo-vscale.json"),
    "demo-backward-only": ("demo-trio", "demo-backward-only.pdf", "demo-backward-only.json"),
    "demo-trio": ("demo-trio", "comparison.pdf", "comparison.json"),
}
REPRODUCTION = ("README.md", "report.pdf", "run.json")
LARGEST = 2**18  # bytes
PAGE = ", [report.html](report.html)"  # which is not kept
_SOURCES = {".pdf": "report.pdf", ".json": "run.json"}


def keep(run: Path, folder: Path, names: tuple[str, ...]) -> None:
    """Copies a run's report, run.json and tables to the names that they have here."""
    folder.mkdir(exist_ok=True)
    for name in names:
        if name.endswith(".csv"):
            pd.read_parquet(run / Path(name).with_suffix(".parquet")).to_csv(folder / name, index=False)
        else:
            shutil.copyfile(run / _SOURCES.get(Path(name).suffix, name), folder / name)


def keep_reproduction(report: Path, here: Path = HERE) -> list[str]:
    """Copies the report of a reproduction, with its tables; returns a line about every file.

    Args:
        report: its folder.
        here: where reports are committed.
    """
    about = json.loads((report / "run.json").read_text(encoding="utf-8"))
    folder = here / "reproduction" / (about["scale"] or about["runs"][0]["recipe"])
    folder.mkdir(parents=True, exist_ok=True)
    tables = sorted(path.name for kind in ("parquet", "csv") for path in report.glob(f"*.{kind}"))
    lines = []
    for name in (*REPRODUCTION, *tables):
        size = (report / name).stat().st_size
        (folder / name).unlink(missing_ok=True)
        if name == "README.md":
            text = (report / name).read_text(encoding="utf-8")
            (folder / name).write_text(text.replace(PAGE, ""), encoding="utf-8")
        elif name in REPRODUCTION or size <= LARGEST:
            shutil.copyfile(report / name, folder / name)
        left = "" if (folder / name).exists() else ", too large to be committed"
        lines.append(f"{folder.relative_to(here)}/{name}: {size / 1024:,.1f} KiB{left}")
    return lines


def reproductions(runs: Path) -> list[Path]:
    """The folders of the reports of finished reproductions."""
    reports = sorted(path.parent for path in runs.glob("*/report/run.json"))
    return [
        path
        for path in reports
        if json.loads((path / "run.json").read_text(encoding="utf-8")).get("kind") == "reproduction"
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path)
    runs = parser.parse_args().runs
    for name, (folder, *files) in KEPT.items():
        if (runs / name / "run.json").exists():
            keep(runs / name, HERE / folder, tuple(files))
            print(f"{name}: {', '.join(files)} in {folder}")
        else:
            print(f"{name}: not there, kept as it was")
    for report in reproductions(runs):
        print("\n".join(keep_reproduction(report)))
