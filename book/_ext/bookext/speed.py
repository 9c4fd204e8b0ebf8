"""`{serving-benchmark}`: the table that `make bench` measured, written from its results."""

import importlib.util
import json
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

REPORT = "benchmarks/serving/report.py"
RESULTS = "benchmarks/serving/results.json"


class ServingBenchmark(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        root = Path(self.env.srcdir)
        for file in (REPORT, RESULTS):
            self.env.note_dependency(str(root / file))
        spec = importlib.util.spec_from_file_location("report", root / REPORT)
        assert spec is not None and spec.loader is not None
        report = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(report)
        text = report.render(json.loads((root / RESULTS).read_text("utf-8")))
        box = nodes.container()
        box.document = self.state.document
        self.state.nested_parse(StringList(text.splitlines(), self.get_source_info()[0]), self.content_offset, box)
        return box.children


def setup(app: Sphinx) -> None:
    app.add_directive("serving-benchmark", ServingBenchmark)
