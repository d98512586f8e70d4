"""Data flows one way: the order of rooms, and no circle between files.

A room is a module or package directly below `sinkscope`. A module may import from its own room and from those named
before it here, wherever the import stands (at the top, in a function, or for types alone).
"""

import ast
from pathlib import Path

import pytest

import sinkscope

PACKAGE = Path(sinkscope.__file__).parent
ROOMS = (
    "version", "terminal", "errors", "inside", "heap", "names", "durations", "fields", "inputs", "keywords",
    "documents", "files", "unfinished", "sites", "compat",
    "launch", "progress", "metrics", "models", "text", "vscale", "loading", "passes", "interventions", "methods",
    "quantities", "provenance", "tables", "intervals", "capture", "planning", "report", "runs", "results",
    "analysis", "mitigations", "monitoring", "evaluation", "quantization", "comparison", "ablation",
    "training", "pretraining", "finetuning", "tracking",
    "reproduction",
    "cli", "__main__",
)  # fmt: skip
FRONT = "sinkscope"  # the package itself, whose public names load on first use


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _imports(module: str) -> set[str]:
    """The package's modules that a module names in its imports; the module, not its package, where it names one."""
    named: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names if alias.name in MODULES}
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            whole = len(submodules) < len(node.names)
            named |= submodules | ({node.module} if whole else set())
    return named


GRAPH = {module: _imports(module) for module in MODULES if module != FRONT}


def _room(module: str) -> str:
    return module.split(".")[1]


def test_imports_are_seen() -> None:
    """Relative and dynamic imports would pass by the tests below; compat imports from other libraries by name."""
    unseen = []
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            relative = isinstance(node, ast.ImportFrom) and node.level > 0
            dynamic = isinstance(node, ast.Attribute) and node.attr == "import_module"
            dynamic = dynamic and module != FRONT and _room(module) != "compat"
            unseen += [f"{module}:{node.lineno}"] if relative or dynamic else []
    assert not unseen


def test_every_room_has_its_place() -> None:
    assert {_room(module) for module in GRAPH} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_from_one_above_it(room: str) -> None:
    above = set(ROOMS[ROOMS.index(room) + 1 :])
    wrong = [
        f"{module} imports {imported}"
        for module, imports in GRAPH.items()
        if _room(module) == room
        for imported in sorted(imports)
        if imported == FRONT or _room(imported) in above
    ]
    assert not wrong


def _circles(graph: dict[str, set[str]]) -> list[str]:
    """What is left of a graph once everything that imports nothing left, or that nothing left imports, is taken out."""
    left = {name: imports & graph.keys() for name, imports in graph.items()}
    while True:
        imported = set().union(*left.values())
        rest = {
            name: imports & left.keys() for name, imports in left.items() if imports & left.keys() and name in imported
        }
        if len(rest) == len(left):
            return sorted(rest)
        left = rest


def test_circles_are_seen() -> None:
    assert _circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == ["b", "c"]
    assert _circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_no_circle_between_files() -> None:
    assert not _circles(GRAPH)


def test_no_circle_between_folders() -> None:
    """A folder and the folders inside it are one for this purpose: between their files there is no circle either."""
    graph: dict[str, set[str]] = {}
    for module, imports in GRAPH.items():
        own = _folder(module)
        others = {_folder(imported) for imported in imports} - {FRONT}
        graph.setdefault(own, set()).update(
            other
            for other in others
            if not (own + ".").startswith(other + ".") and not (other + ".").startswith(own + ".")
        )
    assert not _circles({name: imports for name, imports in graph.items() if name != FRONT})


def _folder(module: str) -> str:
    return module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]


def test_no_module_is_long() -> None:
    long = {module: lines for module, path in MODULES.items() if (lines := len(path.read_text().splitlines())) > 400}
    assert not long
