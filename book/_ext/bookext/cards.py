"""`{data-cards}`: a card for each data set, written from the package's own catalogue."""

import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles

CATALOGUE = "src/aimaas_helpers/data/catalogue.py"


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def card(entry: Any) -> list[str]:
    rows = [
        ("One example", entry.example),
        ("Classes", ", ".join(entry.classes) or "none"),
        ("Licence", entry.licence),
        ("Citation", entry.citation),
        ("Home", f"<{entry.home}>"),
    ]
    sample, full = entry.sample, entry.full
    if hasattr(sample, "member"):
        rows += [
            ("Offline sample", f"{sample.examples:,} {entry.noun}, {megabytes(sample.member_size)}"),
            ("Load it with", f"`{entry.call}`"),
            ("Comes in", f"`{sample.member}` of the package `{sample.requirement}`"),
            ("SHA-256 of the file", f"`{sample.member_sha256}`"),
        ]
    elif sample:
        rows += [
            ("Offline sample", f"{sample.examples:,} {entry.noun}, {megabytes(sample.size)}, made on your machine"),
            ("Load it with", f"`{entry.call}`"),
            ("Made with", f"the package `{sample.requirement}`"),
        ]
    else:
        rows.append(("Offline sample", "none"))
    if full:
        counts = f"{full.train:,} examples to train on and {full.test:,} to test on"
        rows += [
            ("Full set", f"{counts}, through `keras.datasets.{full.loader}`"),
            ("Load it with", f'`data.load("{entry.name}", full=True)`'),
        ]
    table = [f"| {name} | {value} |" for name, value in rows]
    return [f"### {entry.title}", "", "| Property | Value |", "|---|---|", *table, ""]


class DataCards(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        root = Path(self.env.srcdir)
        self.env.note_dependency(str(root / CATALOGUE))
        if str(root / "src") not in sys.path:
            sys.path.append(str(root / "src"))
        from aimaas_helpers.data.catalogue import CATALOGUE as catalogue

        lines = [line for entry in catalogue.values() for line in card(entry)]
        box = nodes.section()
        box.document = self.state.document
        nested_parse_with_titles(self.state, StringList(lines, self.get_source_info()[0]), box, self.content_offset)
        return box.children


def setup(app: Sphinx) -> None:
    app.add_directive("data-cards", DataCards)
