"""How Sphinx builds the site: `sphinx-build -W -c docs . _site` from the root of the checkout, or `make site`.

The source is the whole checkout, so that a link from one page to another, to a report or to a script is the same on
the site as in a checkout: pages become pages, other files are copied beside them. Nothing is fetched while the site is
built.
"""

import importlib.metadata
import re
from typing import Any

from docutils import nodes
from numpy.typing import ArrayLike
from sphinx.util.osutil import relative_uri
from sphinx.util.typing import stringify_annotation

from sinkscope.cli.app import verb_command

project = "sinkscope"
author = "The sinkscope authors"
copyright = author  # noqa: A001  (Sphinx's name)
release = version = importlib.metadata.version("sinkscope")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "recipes/README.md",
    "reports/README.md",
    "reports/*/README.md",
    "reports/*/*/README.md",
    "examples/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
]
source_suffix = {".md": "markdown"}
nitpicky = True
default_role = "code"  # one backtick in a docstring is code, as in these pages
maximum_signature_line_length = 88

myst_heading_anchors = 4  # links to headings, as #the-first-token, are those that a checkout's viewer makes
myst_enable_extensions = ["colon_fence", "deflist"]

# Classes, fields and functions say what they are in Google's style, and their types in annotations alone.
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
# Types of other libraries, and of this one below its public names, are named and not linked.
nitpick_ignore_regex = [("py:.*", ".*")]

html_theme = "furo"
html_title = f"sinkscope {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_extra_path = ["_root"]  # index.html, which leads to the start page
html_copy_source = False
html_domain_indices = False  # two modules, which the navigation has
copybutton_prompt_text = "$ "


def _with_options(app: Any, docname: str, source: list[str]) -> None:  # noqa: ARG001
    """Puts what `sinkscope VERB --help` prints where a page says `<!-- options: VERB -->`."""
    source[0] = re.sub(r"<!-- options: (\w+) -->", lambda found: _options(found[1]), source[0])


def _options(verb: str) -> str:
    command = verb_command(verb)
    with command.make_context(verb, [], resilient_parsing=True, terminal_width=88, max_content_width=88) as context:
        return f"```text\n{command.get_help(context)}\n```"


def _short(app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returned: str | None) -> Any:  # noqa: ARG001
    """Writes ArrayLike by its name, which stands for a line of numpy's private types."""
    long = stringify_annotation(ArrayLike, "smart")
    return None if signature is None else (signature.replace(long, "ArrayLike"), returned)


def _pictures_open(app: Any, doctree: nodes.document, docname: str) -> None:
    """Makes of every picture a link to itself, in full size: a page of a report is small on a phone."""
    for image in list(doctree.findall(nodes.image)):
        kept = app.env.images.get(image["uri"])
        if kept is not None and not isinstance(image.parent, nodes.reference):
            place = relative_uri(app.builder.get_target_uri(docname), f"_images/{kept[1]}")
            image.replace_self(nodes.reference("", "", image.deepcopy(), refuri=place, internal=True))


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", _short)
    app.connect("source-read", _with_options)
    app.connect("doctree-resolved", _pictures_open)
