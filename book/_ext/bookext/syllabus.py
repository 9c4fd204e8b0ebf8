"""`{syllabus}`: the table of every topic and the section where it runs, from `book/syllabus.yml` alone.

A notebook that exists is linked, and so is each of its topics, to the section that `syllabus.yml` names.
Whatever dangles, or a topic of an existing notebook without a section, fails the build.
"""

from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)
SOURCE = "book/syllabus.yml"
PAGES = ("book/coverage", "book/index")
UNWRITTEN = "*not yet written*"


def read(root: Path) -> dict[str, Any]:
    syllabus: dict[str, Any] = yaml.safe_load((root / SOURCE).read_text(encoding="utf-8"))
    return syllabus


def notebooks(syllabus: dict[str, Any]) -> list[dict[str, Any]]:
    return [notebook for part in syllabus["parts"] for notebook in part["notebooks"]]


class Syllabus(SphinxDirective):
    """`{syllabus} 3`: part 3; `progress`: a sentence; `written`: the notebooks there are; `documents`: by document."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.root = Path(self.env.srcdir)
        self.env.note_dependency(str(self.root / SOURCE))
        syllabus = read(self.root)
        view = self.arguments[0]
        if view == "progress":
            lines = self.progress(syllabus)
        elif view == "written":
            lines = self.written(syllabus)
        elif view == "documents":
            lines = self.documents(syllabus)
        else:
            lines = self.table(next(part for part in syllabus["parts"] if str(part["number"]) == view))
        box = nodes.container(classes=["syllabus"])
        self.state.nested_parse(StringList(lines, self.get_source_info()[0]), self.content_offset, box)
        return [box]

    def exists(self, notebook: dict[str, Any]) -> bool:
        return (self.root / notebook["file"]).is_file()

    def progress(self, syllabus: dict[str, Any]) -> list[str]:
        every = notebooks(syllabus)
        written = sum(self.exists(notebook) for notebook in every)
        return [f"Of {len(every)} planned notebooks, {written} are written and run today."]

    def written(self, syllabus: dict[str, Any]) -> list[str]:
        ready = [notebook for notebook in notebooks(syllabus) if self.exists(notebook)]
        titles = [self.title(notebook, f"{notebook['number']} {notebook['title']}") for notebook in ready]
        rows = [f"| {title} | {notebook['experiment']} |" for title, notebook in zip(titles, ready, strict=True)]
        return ["| Notebook | What your machine does in it |", "|---|---|", *rows]

    def documents(self, syllabus: dict[str, Any]) -> list[str]:
        lines = ["| Document | Notebooks that make its topics run |", "|---|---|"]
        for letter in syllabus["documents"]:
            chosen = [n for n in notebooks(syllabus) if letter in n["documents"]]
            lines.append(f"| {letter} | {', '.join(self.title(n, str(n['number'])) for n in chosen)} |")
        return lines

    def table(self, part: dict[str, Any]) -> list[str]:
        head = ["| Notebook, and what your machine does in it | Topics | From |", "|---|---|---|"]
        return head + [self.row(notebook) for notebook in part["notebooks"]]

    def row(self, notebook: dict[str, Any]) -> str:
        title = self.title(notebook, f"{notebook['number']} {notebook['title']}")
        status = "" if self.exists(notebook) else f" {UNWRITTEN}"
        topics = "; ".join(self.topic(notebook, topic) for topic in notebook["topics"])
        experiment = f"**{title}**{status}<br>{notebook['experiment']}"
        return f"| {experiment} | {topics} | {' '.join(notebook['documents'])} |"

    def title(self, notebook: dict[str, Any], text: str) -> str:
        return f"[{text}](/{notebook['file']})" if self.exists(notebook) else text

    def topic(self, notebook: dict[str, Any], topic: str | dict[str, str]) -> str:
        name, section = (topic, "") if isinstance(topic, str) else next(iter(topic.items()))
        if not self.exists(notebook):
            return name
        if not section:
            logger.warning(
                "%s: topic '%s' of %s names no section where it runs.",
                SOURCE,
                name,
                notebook["file"],
                location=self.get_location(),
            )
            return name
        return f"[{name}](/{notebook['file']}#{section})"


def reread(_app: Sphinx, env: Any, *_changes: Any) -> list[str]:
    """Notebooks come and go without these pages changing: read them in every build."""
    return [page for page in PAGES if page in env.found_docs]


def setup(app: Sphinx) -> None:
    app.add_directive("syllabus", Syllabus)
    app.connect("env-get-outdated", reread)
