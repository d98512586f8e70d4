"""The definitions depend on nothing that could hold a model or a table."""

import ast
import sys
from pathlib import Path

from sinkscope import metrics

ALLOWED = {"torch", "numpy", *sys.stdlib_module_names}


def test_metrics_import_torch_and_numpy_alone() -> None:
    found = set()
    for path in Path(metrics.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(str(node.module))
    assert not {name for name in found if name.partition(".")[0] not in ALLOWED}
