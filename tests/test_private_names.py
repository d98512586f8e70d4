"""No module outside `sinkscope.compat` touches what transformers, torch and others do not promise to keep.

A touch, in a module of sinkscope outside that room, is one of these:

- an import of a module of these libraries that has a part beginning with an underscore, or of a name that begins with
  one; torch's other modules are public, and of the other libraries only those in `PROMISED` are;
- an attribute that begins with a single underscore and is no class's of sinkscope itself, on whatever object; one that
  is reached through `super()` in any case. Attributes of modules of other libraries are not meant;
- such a name as a string handed to `getattr`, `setattr`, `hasattr`, `delattr`, or to a function that patches, or in
  square brackets, as of an object's `__dict__`;
- `torch.ops`, below which operators come and go;
- `unittest.mock`, whose use in a library is to put a function in the place of another's;
- a method or attribute of a class of sinkscope that begins with an underscore and is a base class's there.
"""

import ast
import importlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import sinkscope

PACKAGE = Path(sinkscope.__file__).parent
LIBRARIES = ("transformers", "torch", "huggingface_hub", "bitsandbytes", "accelerate", "typer")
PROMISED = {
    *LIBRARIES, "transformers.utils", "huggingface_hub.errors", "accelerate.utils", "bitsandbytes.optim",
}  # fmt: skip
PATCHING = {"getattr", "setattr", "hasattr", "delattr", "object", "patch_attr"}
MODULES = {
    path: ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
    if PACKAGE / "compat" not in path.parents
}


def _private(name: str) -> bool:
    return re.fullmatch(r"_[A-Za-z0-9]\w*", name) is not None


def _own_names(trees: list[ast.Module]) -> set[str]:
    """Private names of sinkscope's own classes: their methods, fields, and what methods set on `self`."""
    own: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        for part in ast.walk(node):
            if isinstance(part, ast.FunctionDef):
                own.add(part.name)
            elif isinstance(part, ast.AnnAssign | ast.Assign):
                targets = part.targets if isinstance(part, ast.Assign) else [part.target]
                for target in (leaf for whole in targets for leaf in ast.walk(whole)):
                    if isinstance(target, ast.Name):
                        own.add(target.id)
                    elif isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                        own.add(target.attr)
    return {name for name in own if _private(name)}


def _library(module: str) -> bool:
    return module.partition(".")[0] in LIBRARIES


def _allowed(module: str) -> bool:
    parts = module.split(".")
    return not any(map(_private, parts)) and (parts[0] == "torch" or module in PROMISED)


def touches(tree: ast.Module, own: set[str]) -> Iterator[tuple[int, str]]:
    """Line and source of each touch, by the rules at the head of this file but the last."""
    others = {
        alias.asname or alias.name
        for node in ast.walk(tree) if isinstance(node, ast.Import)
        for alias in node.names if not _library(alias.name)
    }  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            bad = [a.name for a in node.names if a.name.startswith("unittest") or not _fine(a.name)]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [alias.name for alias in node.names]
            bad = [node.module] if node.module.startswith("unittest") or not _fine(node.module) else []
            bad += [name for name in names if _library(node.module) and (_private(name) or name == "ops")]
            bad += [name for name in names if _library(node.module) and _is_module(f"{node.module}.{name}")]
        elif isinstance(node, ast.Attribute):
            value = ast.unparse(node.value)
            private = _private(node.attr) and (node.attr not in own or "super()" in value) and value not in others
            bad = [node.attr] if private or ast.unparse(node) == "torch.ops" else []
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            strings = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            bad = [text for text in strings if name in PATCHING and _private(text) and text not in own]
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            text = node.slice.value
            bad = [text] if isinstance(text, str) and _private(text) and text not in own else []
        else:
            continue
        if bad:
            yield node.lineno, ast.unparse(node)


def _fine(module: str) -> bool:
    return not _library(module) or _allowed(module)


def _is_module(name: str) -> bool:
    """Whether `from package import name` imports a module that is not promised, as `core_model_loading`."""
    if name.startswith("torch.") or name in PROMISED or name == "transformers.utils.logging":
        return False
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


OWN = _own_names([*MODULES.values()])


def test_no_module_outside_compat_touches_a_private_name() -> None:
    found = [
        f"{path.relative_to(PACKAGE.parent)}:{line}: {source}"
        for path, tree in MODULES.items()
        for line, source in touches(tree, OWN)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "import torch._dynamo",
        "from torch.utils._pytree import tree_leaves",
        "from transformers.masking_utils import and_masks",
        "from transformers.masking_utils import _vmap_expansion_sdpa",
        "from transformers import core_model_loading",
        "import typer.core",
        "from unittest import mock",
        "import unittest.mock",
        "model.config._attn_implementation = 'eager'",
        "torch.ops.aten.mm(x, x)",
        "torch._dynamo.OptimizedModule",
        "tensor.untyped_storage()._cdata",
        "super()._apply(fn)",
        "getattr(model, '_tied_weights_keys', None)",
        "helpers.patch_attr(config, '_attn_implementation', name)",
        "model.__dict__['_original_forward']",
    ],
)
def test_a_touch_is_seen(source: str) -> None:
    assert list(touches(ast.parse(source), {"_apply"}))


@pytest.mark.parametrize(
    "source",
    [
        "from torch.nn import functional as F",
        "from transformers import AutoModelForCausalLM",
        "from transformers.utils import ModelOutput, logging",
        "from huggingface_hub.errors import HfHubHTTPError",
        "import os\nos._exit(1)",
        "self._own",
        "other._own",
        "getattr(module, '_own')",
        "x.__dict__",
    ],
)
def test_what_is_no_touch(source: str) -> None:
    assert not list(touches(ast.parse(source), {"_own"}))


def _written(tree: ast.Module, name: str) -> set[str]:
    """What the source of a class gives it, which is less than what its metaclass and bases do."""
    kinds = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name]
    return {leaf.name for kind in kinds for leaf in kind.body if isinstance(leaf, ast.FunctionDef)} | {
        leaf.id for kind in kinds for part in kind.body if isinstance(part, ast.Assign | ast.AnnAssign)
        for leaf in ast.walk(part) if isinstance(leaf, ast.Name) and isinstance(leaf.ctx, ast.Store)
    }  # fmt: skip


def test_no_class_outside_compat_overrides_a_private_name() -> None:
    found = []
    for path, tree in MODULES.items():
        if not any(isinstance(node, ast.ClassDef) and node.bases for node in ast.walk(tree)):
            continue
        module = importlib.import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
        for kind in (kind for kind in vars(module).values() if isinstance(kind, type)):
            bases = [base for base in kind.__mro__[1:] if _library(base.__module__)]
            if kind.__module__ == module.__name__:
                found += [
                    f"{module.__name__}.{kind.__name__}.{name} is {base.__name__}'s"
                    for name in _written(tree, kind.__name__) if _private(name)
                    for base in bases if name in vars(base)
                ]  # fmt: skip
    assert not found, "\n".join(found)
