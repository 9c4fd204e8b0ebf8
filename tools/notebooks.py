"""Execute notebooks and store their outputs in one normal form, or check that what is stored is in that form.

    python tools/notebooks.py run [NOTEBOOK …]     execute (all, if none is named) and store
    python tools/notebooks.py check [NOTEBOOK …]   say which are not stored in normal form; exit status 1 if any

The normal form holds what readers and tests need and nothing that changes from run to run: no timings, no widget
state, cell names derived from their text. Alternative text that the code gave with a figure is copied to where the
site looks for it, and the first cell's run time is the one measured.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parent.parent
# What the site writes on the lid of a folded cell with this tag.
FOLDED = {"solution": "Show the solution", "checker": "Show how answers are checked (gives the answer away)"}
ANSI = re.compile(r"\x1b\[[0-9;]*m")
RUN_TIME = re.compile(r"about \d+ (?:seconds|minutes) on two CPU cores")


def notebooks(names: list[str]) -> list[Path]:
    """The notebooks named, or all of them in reading order."""
    found = [Path(name).resolve() for name in names] or sorted((ROOT / "notebooks").rglob("[0-9]*.ipynb"))
    missing = [str(path) for path in found if not path.is_file()]
    if missing:
        sys.exit(f"There is no notebook {', '.join(missing)}.")
    return [path for path in found if ".ipynb_checkpoints" not in path.parts]


def execute(path: Path) -> Any:
    """Run every cell in a fresh kernel, in the notebook's own folder, and return the notebook with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}})
    start = time.perf_counter()
    client.execute(stderr=subprocess.DEVNULL)  # the log of C++ libraries
    return with_run_time(notebook, time.perf_counter() - start)


def with_run_time(notebook: Any, seconds: float) -> Any:
    """Write the measured run time into the first cell, unless what stands there is still about right."""
    first = notebook.cells[0]
    stands = RUN_TIME.search(first.source)
    if stands:
        number = int(stands[0].split()[1]) * (60 if "minutes" in stands[0] else 1)
        if not 0.6 * number <= seconds <= 1.2 * number:
            rounded = -(-seconds // 10) * 10
            text = f"{rounded:.0f} seconds" if rounded < 120 else f"{-(-seconds // 60):.0f} minutes"
            first.source = RUN_TIME.sub(f"about {text} on two CPU cores", first.source)
    return notebook


def normalise(notebook: Any) -> Any:
    """The notebook in normal form; a notebook already in it comes back unchanged."""
    notebook = nbformat.from_dict(dict(notebook))
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    seen: dict[str, int] = {}
    count = 0
    for cell in notebook.cells:
        cell.source = cell.source.rstrip()
        name = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        seen[name] = seen.get(name, 0) + 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"
        tags = set(cell.metadata.get("tags", []))
        metadata: dict[str, Any] = {}
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            cell.outputs = [normal_output(output, count) for output in merged(cell.outputs)]
            metadata = {"mystnb": described(cell.outputs)}
            if folded := FOLDED.keys() & tags:
                tags.add("hide-cell")
                metadata["mystnb"]["code_prompt_show"] = FOLDED[folded.pop()]
            if {"hide-input", "hide-cell"} & tags:
                metadata["jupyter"] = {"source_hidden": True}
        metadata["tags"] = sorted(tags)
        cell.metadata = nbformat.from_dict({key: value for key, value in metadata.items() if value})
    return notebook


def merged(outputs: list[Any]) -> list[Any]:
    """Neighbouring pieces of the same stream joined: how a stream is cut up depends on timing."""
    joined: list[Any] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if output.output_type == "stream" and last and last.output_type == "stream" and last.name == output.name:
            last.text += output.text
        else:
            joined.append(nbformat.from_dict(dict(output)))
    return joined


def normal_output(output: Any, count: int) -> Any:
    if output.output_type == "execute_result":
        output.execution_count = count
    output.pop("transient", None)
    return output


def described(outputs: list[Any]) -> dict[str, Any]:
    """Alternative text and width of the cell's figure, where MyST-NB reads them."""
    for output in outputs:
        for about in output.get("metadata", {}).values():
            if "alt" in about:
                return {"image": {"alt": about["alt"], "width": f"{about['width']}px"}}
    return {}


def write(notebook: Any, path: Path) -> None:
    temporary = path.with_suffix(".ipynb.part")
    nbformat.write(notebook, temporary)
    os.replace(temporary, path)


def run(paths: list[Path]) -> int:
    failed = 0
    for path in paths:
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        print(f"{shown} …", end=" ", flush=True)
        start = time.perf_counter()
        try:
            write(normalise(execute(path)), path)
            print(f"{time.perf_counter() - start:.0f} s")
        except CellExecutionError as error:
            failed += 1
            print(f"failed; the stored notebook is unchanged.\n{ANSI.sub('', str(error))}")
    return 1 if failed else 0


def check(paths: list[Path]) -> int:
    wrong = [path for path in paths if normalise(stored := nbformat.read(path, as_version=4)) != stored]
    for path in wrong:
        print(f"{path} is not in normal form; run: make notebooks NOTEBOOK={path}")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "check"])
    parser.add_argument("notebooks", nargs="*", metavar="NOTEBOOK")
    options = parser.parse_args()
    return {"run": run, "check": check}[options.action](notebooks(options.notebooks))


if __name__ == "__main__":
    sys.exit(main())
