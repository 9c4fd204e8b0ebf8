"""Pages get a description, Chinese words their language, IPython its lexer; stored errors fail the build."""

from html import escape
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from ipython_pygments_lexers import IPython3Lexer
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

logger = logging.getLogger(__name__)
DESCRIPTION_LENGTH = 155  # what search engines show


def describe(text: str) -> str:
    """The beginning of `text`, cut at a word."""
    text = " ".join(text.split())
    if len(text) <= DESCRIPTION_LENGTH:
        return text
    return text[:DESCRIPTION_LENGTH].rsplit(" ", 1)[0].rstrip(",;:—") + " …"


def add_description(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    if 'name="description"' in context.get("metatags", ""):
        return
    paragraph = next(iter(doctree.findall(nodes.paragraph)), None) if doctree else None
    text = describe(paragraph.astext() if paragraph else f"{context.get('title', '')}: {app.config.html_title}")
    context["metatags"] = context.get("metatags", "") + f'\n<meta name="description" content="{escape(text)}">'


def mend_roles(
    _app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Two faults of the libraries below: a withdrawn role, and a folded cell not named by its own words."""
    if "body" in context:
        body = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')
        context["body"] = body.replace('<summary aria-label="Toggle hidden content">', "<summary>")


def refuse_errors(app: Sphinx, env: BuildEnvironment, _docnames: list[str]) -> None:
    """A notebook whose stored outputs hold an error, or none at all, fails the build (under `-W`)."""
    for docname in sorted(env.found_docs):
        path = Path(env.doc2path(docname))
        if path.suffix != ".ipynb":
            continue
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        for number, cell in enumerate(cells, start=1):
            for output in cell.outputs:
                if output.output_type == "error":
                    logger.warning(
                        "code cell %d stored an error, %s: %s. Run `make notebooks NOTEBOOK=%s`.",
                        number,
                        output.ename,
                        output.evalue,
                        path.relative_to(app.srcdir),
                        location=docname,
                    )
        if cells and not any(cell.outputs for cell in cells):
            logger.warning("stored without outputs. Run `make notebooks`.", location=docname)


def chinese(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = None
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """The role `zh`: a Chinese word, which a screen reader must pronounce and the right font draw."""
    return [nodes.inline(rawtext, text, classes=["language-zh-Hans"])], []


def setup(app: Sphinx) -> None:
    app.add_role("zh", chinese)
    app.add_lexer("python", IPython3Lexer)  # notebooks also hold lines such as `!curl`
    app.connect("html-page-context", add_description)
    app.connect("html-page-context", mend_roles)
    app.connect("env-before-read-docs", refuse_errors)
