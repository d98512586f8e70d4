"""The scripts that itables and plotly carry for browsers, as text.

Both packages hold a JavaScript library in one file, complete and offline: itables holds DataTables, plotly holds
plotly.js. The HTML report puts them into its page. itables names its file in an option only once it is imported, with
pandas' samples and IPython's hooks, and plotly gives its script through a module that imports half the package, so the
files are read where they lie. DataTables comes as a JavaScript module, whose names only an `import` of an address
reaches; a page that may load nothing has no address, so the one `export` at its end is made an assignment.
"""

import re
from importlib.util import find_spec
from pathlib import Path

from sinkscope.errors import SinkscopeError

TABLES = "DataTable"  # what each script leaves behind in a browser's `window`
CHARTS = "Plotly"

_EXPORT = re.compile(r"\bexport\s*\{([^{}]*)\}\s*;?")
_DEFAULT = re.compile(r"(?:^|,)\s*([\w$]+)\s+as\s+default\s*(?:,|$)")


def datatables_script() -> str:
    """DataTables as a classic script, which sets `window.DataTable`.

    Raises:
        SinkscopeError: if itables is missing, or holds something else than expected.
    """
    text = _read("itables", "html/dt_bundle.js")
    found = _EXPORT.findall(text)
    name = _DEFAULT.search(found[0]) if len(found) == 1 else None
    if name is None:
        raise SinkscopeError("itables holds no DataTables that the HTML report knows: pip install 'itables>=2.4,<3'")
    return f"(() => {{{_EXPORT.sub(lambda _: f'window.{TABLES} = {name[1]};', text)}\n}})();"


def datatables_style() -> str:
    """The style sheet of DataTables."""
    return _read("itables", "html/dt_bundle.css")


def plotly_script() -> str:
    """plotly.js, which sets `window.Plotly`."""
    return _read("plotly", "package_data/plotly.min.js")


def _read(package: str, path: str) -> str:
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        file = Path(folder, path)
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise SinkscopeError(f"the HTML report needs {package} with its file {path}: pip install {package}")
