"""Takes over what is committed here of the runs that `demo.sh` and `trios.sh` made.

    python reports/keep.py RUNS

RUNS is the folder of their runs. Of a run the report, its run.json and here and there a table are kept; nothing is
kept of a run that is not there, which is said.
"""

import argparse
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
    "mini-trio": ("mini-trio", "report.pdf", "run.json", "comparison.parquet"),
    "mini-track": ("mini-trio", "track.pdf", "track.json"),
}
_SOURCES = {".pdf": "report.pdf", ".json": "run.json"}


def keep(run: Path, folder: Path, names: tuple[str, ...]) -> None:
    """Copies a run's report, run.json and tables to the names that they have here."""
    folder.mkdir(exist_ok=True)
    for name in names:
        if name.endswith(".csv"):
            pd.read_parquet(run / Path(name).with_suffix(".parquet")).to_csv(folder / name, index=False)
        else:
            shutil.copyfile(run / _SOURCES.get(Path(name).suffix, name), folder / name)


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
