"""The tool that runs notebooks: outputs in normal form, and a failed run loses nothing."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import notebooks as tool


@pytest.fixture
def write(tmp_path):
    def write(*cells):
        path = tmp_path / "a notebook.ipynb"
        nbformat.write(new_notebook(cells=list(cells)), path)
        return path

    return write


def stream(text, name="stdout"):
    return new_output("stream", text=text, name=name)


def test_normal_form_forgets_what_changes_from_run_to_run():
    def notebook(texts, count, cell_id):
        cell = new_code_cell("print(1)", outputs=[stream(t) for t in texts], execution_count=count, id=cell_id)
        cell.metadata = {"execution": {"iopub.status.busy": "2026"}, "trusted": True}
        return new_notebook(cells=[cell], metadata={"language_info": {"name": "python", "version": f"3.{count}"}})

    assert tool.normalise(notebook(["a", "b"], 7, "x")) == tool.normalise(notebook(["ab"], 8, "y"))
    assert tool.normalise(notebook(["ab"], 1, "x")) != tool.normalise(notebook(["ac"], 1, "x"))


def test_normal_form_is_stable_and_cells_keep_their_names():
    one, two = new_code_cell("x = 1"), new_code_cell("x = 1")
    first = tool.normalise(new_notebook(cells=[one, two]))
    assert tool.normalise(first) == first
    assert len({cell.id for cell in first.cells}) == 2
    longer = tool.normalise(new_notebook(cells=[new_markdown_cell("# New"), one, two]))
    assert [cell.id for cell in longer.cells[1:]] == [cell.id for cell in first.cells]


def test_alternative_text_moves_to_where_the_site_reads_it():
    output = new_output("display_data", data={"image/png": "aGk="}, metadata={"image/png": {"alt": "A", "width": 9}})
    (cell,) = tool.normalise(new_notebook(cells=[new_code_cell("draw()", outputs=[output])])).cells
    assert cell.metadata == {"mystnb": {"image": {"alt": "A", "width": "9px"}}}


def test_solutions_are_folded():
    cell = new_code_cell("1", metadata={"tags": ["solution"]})
    (cell,) = tool.normalise(new_notebook(cells=[cell])).cells
    assert cell.metadata.jupyter.source_hidden and cell.metadata.tags == ["hide-cell", "solution"]


def test_run_stores_outputs_and_the_measured_time(write, capsys):
    path = write(new_markdown_cell("about 900 seconds on two CPU cores"), new_code_cell("print('hello')\n6 * 7"))
    assert tool.run([path]) == 0
    stored = nbformat.read(path, as_version=4)
    assert stored.cells[0].source == "about 10 seconds on two CPU cores"
    assert stored.cells[1].outputs[0].text == "hello\n"
    assert stored.cells[1].outputs[1].data["text/plain"] == "42"
    assert tool.check([path]) == 0


def test_a_failing_notebook_is_reported_and_left_as_it_was(write, capsys):
    path = write(new_code_cell("print('before')"), new_code_cell("raise SystemError('broken')"))
    before = path.read_bytes()
    assert tool.run([path]) == 1
    assert path.read_bytes() == before
    assert "broken" in capsys.readouterr().out


def test_a_notebook_that_is_not_there_gets_a_sentence():
    with pytest.raises(SystemExit, match="There is no notebook"):
        tool.notebooks(["nowhere.ipynb"])


def test_check_names_what_is_not_in_normal_form(write, capsys):
    path = write(new_code_cell("1", execution_count=5))
    assert tool.check([path]) == 1
    assert str(path) in capsys.readouterr().out
