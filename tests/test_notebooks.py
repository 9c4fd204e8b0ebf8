"""What every notebook of the book has, as its readers may expect: one test a promise, each for every notebook."""

import os
import re
import statistics
from pathlib import Path

import nbformat
import pytest
import yaml

import notebooks as tool

ROOT = Path(__file__).resolve().parent.parent
PATHS = tool.notebooks([])
TAGS = {"checker", "hide-cell", "hide-input", "nbval-ignore-output", "solution"}


@pytest.fixture(params=PATHS, ids=[path.stem for path in PATHS])
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


def tagged(notebook, tag):
    return [cell for cell in code_cells(notebook) if tag in cell.metadata.get("tags", [])]


def bullets(text):
    return re.findall(r"^- .+?(?=^- |\Z)", text, flags=re.MULTILINE | re.DOTALL)


def figures(cell):
    return [output for output in cell.outputs if any(kind.startswith("image/") for kind in output.get("data", {}))]


def test_there_are_notebooks():
    assert len(PATHS) >= 3


def test_every_notebook_is_in_the_table_of_contents():
    listed = set(re.findall(r"file: (notebooks/\S+)", (ROOT / "_toc.yml").read_text()))
    assert listed == {str(path.relative_to(ROOT).with_suffix("")) for path in PATHS}


def test_the_first_cell_says_what_for_what_with_and_how_long(notebook):
    title, promise, needs = re.split(r"\n\n+", notebook.cells[0].source)
    assert re.fullmatch(r"# \S.+", title)
    assert re.fullmatch(r"\*After this notebook you .+\.\*", promise)
    assert needs.startswith("**Needs:** ")
    assert tool.RUN_TIME.search(needs)


def test_it_announces_what_it_does_and_says_what_was_done(notebook):
    announced, done = notebook.cells[1].source, notebook.cells[-1].source
    assert announced.startswith("**In this notebook** you will\n")
    assert done.startswith("## You have\n") and "**Next:**" in done
    assert 3 <= len(bullets(announced)) == len(bullets(done.split("**Next:**")[0])) <= 9


def test_code_cells_are_short(notebook):
    lengths = sorted(sum(1 for line in cell.source.splitlines() if line.strip()) for cell in code_cells(notebook))
    assert statistics.median(lengths) <= 6
    assert lengths[int(0.9 * len(lengths))] <= 18
    assert lengths[-1] <= 40


def test_there_is_prose_between_the_code(notebook):
    kinds = "".join("c" if cell.cell_type == "code" else "m" for cell in notebook.cells)
    assert "c" * 6 not in kinds, "six code cells in a row without a word"


def test_it_has_figures_and_each_has_alternative_text(notebook):
    drawn = [cell for cell in code_cells(notebook) if figures(cell)]
    assert drawn
    for cell in drawn:
        (figure,) = figures(cell)  # one idea, one figure a cell
        (given,) = [about["alt"] for about in figure.metadata.values() if "alt" in about]
        assert cell.metadata.mystnb.image.alt == given and len(given) >= 30 and given.endswith(".")


# Numbers that come out of a run: shares, decimals, and counts with a unit. Code, formulas, links and the name of the
# usual interval are not such.
NOT_PROSE = re.compile(
    r"95 % interval|```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|\{[a-z:]+\}|\]\([^)]*\)|<[^>]*>", re.DOTALL
)
TYPED_IN = re.compile(r"\d\s*%|\d\.\d|\d\s*(?:ms|s|seconds|minutes|MB|GB|FLOPs?|requests|times)\b|\d×|\d{1,3},\d{3}")


def typed_in(text):
    return TYPED_IN.findall(NOT_PROSE.sub(" ", text))


def test_numbers_in_prose_come_from_the_run(notebook):
    assert not [found for cell in prose_cells(notebook)[1:] for found in typed_in(cell.source)]


def test_typed_in_numbers_would_be_found():
    for bad in ("reads 93 % of them", "a loss of 0.31", "takes 12 ms", "all 60,000 digits", "8× faster"):
        assert typed_in(bad), bad
    for good in ("Exercise 2 of 3", "28 pixels", r"$x = 0.5$ and `0.25`", "since 2015", "[here](0.5.md)"):
        assert not typed_in(good), good


def test_numbers_that_vary_are_followed_by_a_claim(notebook):
    cells = code_cells(notebook)
    for position, cell in enumerate(cells):
        address_only = cell.source.endswith(("print(url)", "print(predict)"))
        if "nbval-ignore-output" in cell.metadata.get("tags", []) and not address_only:
            following = cells[position + 1 : position + 4]
            assert any("claim(" in later.source for later in following), cell.source


def test_claims_are_made_and_hold(notebook):
    said = "".join(output.text for cell in code_cells(notebook) for output in cell.outputs if output.get("text"))
    assert len(re.findall(r"^✓ .+\.$", said, flags=re.MULTILINE)) >= 4


def test_exercises_can_be_checked_and_solutions_were_run(notebook):
    checkers, solutions = tagged(notebook, "checker"), tagged(notebook, "solution")
    assert len(checkers) == len(solutions) >= 2
    source = "\n".join(cell.source for cell in code_cells(notebook))
    for name in re.findall(r"^(\w+) = exercise\(", source, flags=re.MULTILINE):
        (question,) = [cell for cell in code_cells(notebook) if f"{name}.check(" in cell.source]
        (solution,) = [cell for cell in solutions if f"{name}.solution(" in cell.source]
        assert "..." in question.source, "a reader starts from three dots"
        assert question.outputs[0].text.startswith("Your turn")
        assert "✓ The solution is correct." in solution.outputs[0].text
        assert solution.metadata.jupyter.source_hidden and "hide-cell" in solution.metadata.tags


def test_every_server_is_stopped(notebook):
    source = "\n".join(cell.source for cell in code_cells(notebook))
    started = re.findall(r"^(\w+) = serving\.local\(", source, flags=re.MULTILINE)
    assert len(started) + source.count("with serving.local(") == source.count("serving.local(")
    for name in started:
        last_start = source.rindex(f"{name} = serving.local(")
        assert f"{name}.stop()" in source[last_start:]


def test_it_waits_for_nothing_and_fetches_nothing(notebook):
    source = "\n".join(cell.source for cell in code_cells(notebook))
    assert not re.search(r"time\.sleep|pip install|https?://(?!127\.0\.0\.1|localhost)|full=True", source)


def test_no_cell_hides_its_value_with_a_semicolon(notebook):
    assert not [cell.source for cell in code_cells(notebook) if cell.source.endswith(";")]  # nbval would show it


def test_outputs_are_stored_and_clean(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr", cell.source
            text = output.get("text", "") + output.get("data", {}).get("text/plain", "")
            assert not re.search(r"/(?:tmp|home|root|Users|var)/|[A-Z]:\\", text), "a path of the author's machine"
        if re.search(r"^(?:print|claim|plotting\.show)\(", cell.source, flags=re.MULTILINE):
            assert cell.outputs, f"never run: {cell.source}"


def test_it_is_stored_in_normal_form(notebook):
    normal = tool.normalise(notebook)
    if "CI" in os.environ:
        other = [cell.source for cell, stored in zip(normal.cells, notebook.cells, strict=True) if cell != stored]
        assert not other and normal.metadata == notebook.metadata, "run: make notebooks"
    for cell, stored in zip(normal.cells, notebook.cells, strict=True):  # on a reader's machine JupyterLab adds notes
        assert cell.metadata.get("mystnb") == stored.metadata.get("mystnb"), "run: make notebooks"


def test_tags_are_known(notebook):
    assert {tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])} <= TAGS


def test_the_configuration_stores_outputs_and_never_runs():
    assert yaml.safe_load((ROOT / "_config.yml").read_text())["execute"]["execute_notebooks"] == "off"
