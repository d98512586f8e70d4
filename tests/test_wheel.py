"""The wheel holds the package whole, and what is installed from it works away from the checkout."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import sinkscope

ROOT = Path(sinkscope.__file__).parents[1]
PACKAGE = ROOT / "sinkscope"

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Runs a command that knows nothing of the checkout but its own arguments, and returns what it wrote to stdout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source distribution, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (built,) = distributions.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment that holds the wheel, and borrows the libraries of the one we run in."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    places = {"base": str(folder), "platbase": str(folder)}
    scripts, site = (Path(sysconfig.get_path(name, "venv", places)) for name in ("scripts", "purelib"))
    # A path file inside a borrowed folder is not followed, so that an editable install of the checkout stays unseen.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    run(sys.executable, "-m", "pip", "--python", scripts / "python", "install", "--no-deps", "--no-index", wheel)
    return scripts


def test_its_description_is_one_that_an_index_renders(distributions: Path) -> None:
    said = run(sys.executable, "-m", "twine", "check", "--strict", *sorted(distributions.iterdir()))
    assert said.count("PASSED") == 2


def test_the_source_distribution_can_be_tested_and_documented(distributions: Path) -> None:
    (archive,) = distributions.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert names >= {"docs/conf.py", "examples/README.md", "tests/conftest.py", "reports/README.md", "CHANGELOG.md"}


def test_it_holds_the_modules_the_models_and_the_recipes(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {path.relative_to(ROOT) for path in PACKAGE.rglob("*.py")}
    expected |= {path.relative_to(ROOT) for path in (PACKAGE / "packaged").rglob("*") if path.is_file()}
    expected |= {"sinkscope" / path.relative_to(ROOT) for path in (ROOT / "recipes").rglob("*") if path.is_file()}
    expected |= {
        Path("sinkscope", "py.typed"),
        *(Path("sinkscope", "report", "html", f"page.{kind}") for kind in ("css", "js")),
    }
    assert {path.as_posix() for path in expected} == {name for name in names if ".dist-info/" not in name}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert sum(name.endswith("model.safetensors") for name in names) == 2


def test_it_runs_away_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    home = run(installed / "python", "-c", "import sinkscope; print(sinkscope.__file__)", cwd=tmp_path)
    assert Path(home).is_relative_to(installed.parent)
    assert run(installed / "sinkscope", "--version", cwd=tmp_path) == f"sinkscope {sinkscope.__version__}\n"
    assert "llama" in run(installed / "sinkscope", "families", cwd=tmp_path)


def test_it_analyzes_the_demo_away_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    small = ("--sequences", "3", "--tokens", "64")
    assert "attention sink" in run(installed / "sinkscope", "analyze", "demo", *small, "--out", "run", cwd=tmp_path)
    assert {"run.json", "report.pdf", "report.html"} <= {path.name for path in (tmp_path / "run").iterdir()}
