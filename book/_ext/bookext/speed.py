"""`{serving-benchmark}` and its like: the tables that `make bench` measured, written from its results."""

import importlib.util
import json
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

# What renders a benchmark's results, and where they are.
BENCHMARKS = {
    "serving-benchmark": ("benchmarks/serving/report.py", "benchmarks/serving/results.json"),
    "training-benchmark": ("benchmarks/training.py", "benchmarks/training.json"),
    "language-benchmark": ("benchmarks/language/speed.py", "benchmarks/language/speed.json"),
}


class Benchmark(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        root = Path(self.env.srcdir)
        script, results = (root / file for file in BENCHMARKS[self.name])
        for file in (script, results):
            self.env.note_dependency(str(file))
        spec = importlib.util.spec_from_file_location("report", script)
        assert spec is not None and spec.loader is not None
        report = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(report)
        text = report.render(json.loads(results.read_text("utf-8")))
        box = nodes.container()
        box.document = self.state.document
        self.state.nested_parse(StringList(text.splitlines(), self.get_source_info()[0]), self.content_offset, box)
        return box.children


def setup(app: Sphinx) -> None:
    for name in BENCHMARKS:
        app.add_directive(name, Benchmark)
