"""MathJax from the installed package `sphinx-mathjax-offline`: only the parts that pages load."""

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError

PACKAGE = "sphinx-mathjax-offline"
# `startup.js` loads these one by one; together they weigh two thirds of the ready-made `tex-chtml.js`,
# and leave out its menu, the only thing that would ask for speech rules.
PARTS = [
    "core",
    "input/tex-base",
    "[tex]/ams",
    "[tex]/newcommand",
    "[tex]/noundefined",
    "output/chtml",
    "a11y/assistive-mml",
]
FONT = "output/chtml/fonts/tex"  # `output/chtml` asks for it by itself
CONFIG = {
    "loader": {"load": PARTS, "versionWarnings": False},
    "tex": {"packages": {"[+]": ["ams", "newcommand", "noundefined"]}, "tags": "none"},
    "options": {
        "ignoreHtmlClass": "tex2jax_ignore|mathjax_ignore|document",
        "processHtmlClass": "tex2jax_process|mathjax_process|math|output_area",
    },
    "chtml": {"mtextInheritFont": True},
}


def package_folder() -> Path:
    """Where the package keeps MathJax; an `ExtensionError` that says what to install if it is missing."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ExtensionError(f"MathJax is missing. Run `make lab` or `pip install {PACKAGE}`.")
    return Path(spec.origin).parent / "static" / "mathjax"


def copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    if error or app.builder.format != "html":
        return
    source, target = package_folder(), Path(app.outdir) / "_static" / "mathjax"
    scripts = [part.replace("[tex]", "input/tex/extensions") + ".js" for part in [*PARTS, FONT]]
    fonts = [font.relative_to(source) for font in source.glob("output/chtml/fonts/woff-v2/*.woff")]
    for name in ["startup.js", *scripts, *fonts]:
        if not (target / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)


def configure(_app: Sphinx, config: Config) -> None:
    config.mathjax_path = "mathjax/startup.js"
    config.mathjax3_config = CONFIG
    config.myst_update_mathjax = False


def drop_where_unused(
    _app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Sphinx loads MathJax also on a page whose children have formulas; keep it where there is one."""
    if doctree is None or next(iter(doctree.findall(is_formula)), None) is None:
        files = context["script_files"]
        context["script_files"] = [file for file in files if not is_mathjax(file)]


def keep_numbers(_app: Sphinx, doctree: nodes.document) -> None:
    """Sphinx wraps a formula that has a line break in `split`, where MathJax allows no number: give it whole."""
    for node in doctree.findall(nodes.math_block):
        if r"\tag" in node.astext():
            node["nowrap"] = True
            node[:] = [nodes.Text(rf"\[{node.astext()}\]")]


def is_formula(node: nodes.Node) -> bool:
    return isinstance(node, nodes.math | nodes.math_block)


def is_mathjax(script: Any) -> bool:
    return "mathjax" in str(script.filename) or "window.MathJax" in script.attributes.get("body", "")


def setup(app: Sphinx) -> None:
    app.connect("config-inited", configure)
    app.connect("doctree-read", keep_numbers)
    app.connect("html-page-context", drop_where_unused, priority=900)
    app.connect("build-finished", copy_mathjax)
