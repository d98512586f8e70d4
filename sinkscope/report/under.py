"""Under which quantization method a model was measured, in words."""

from collections.abc import Mapping
from typing import Any

from sinkscope.report.text import counted, printable


def under(model: Mapping[str, Any]) -> str:
    """The method with what its numbers depend on, as "under w8a8-static (...)"; the name alone where it is stored so.

    Args:
        model: what run.json says of it; empty for a model as it is.
    """
    name, method = model.get("quantization"), model.get("method")
    if not name or method is None:
        return printable(name) if name else ""
    facts = [f"on {method['modules']} alone"] if method["modules"] else []
    if "calibration" in method:
        facts.append(f"calibrated on {calibration(method['calibration'])}")
    if method.get("gradients") == "straight-through":
        facts.append("gradients straight through its rounding")
    return printable(f"under {name}" + (f" ({'; '.join(facts)})" if facts else ""), 200)


def calibration(text: Mapping[str, Any]) -> str:
    """The calibration text in words."""
    skipped = text["skipped_documents"]
    behind = f" behind its first {counted(skipped, 'document')}" if skipped else ""
    source = printable(text["source"], 50, keep_end=True)
    return f"{text['sequences']:,} x {counted(text['tokens'], 'token')} of {source}{behind}"


def method_facts(model: Mapping[str, Any]) -> dict[str, Any]:
    """What run.json says of the method, for a list of facts."""
    method = model.get("method")
    if method is None:
        return {}
    parts = [method["granularity"], f"on {method['modules']} alone" if method["modules"] else ""]
    parts += [method.get("library", ""), method.get("note", "")]
    parts.append(f"gradients {method['gradients']}" if "gradients" in method else "")
    facts = {"method": "; ".join(part for part in parts if part)}
    if "calibration" in method:
        text = method["calibration"]
        facts["calibration"] = f"{calibration(text)}, sha256 {text['sha256'][:12]}"
    return facts
