"""Tells a site that belongs to its sources from a stale one."""

import hashlib
import json
from pathlib import Path

from sphinx.application import Sphinx

NAME = ".sources.json"
PATTERNS = [
    *("_config.yml", "_toc.yml", "notebooks/**/*.ipynb", "src/aimaas_helpers/data/catalogue.py"),
    *("book/*.md", "book/*.yml", "book/*.bib", "book/_ext/**/*.py", "book/_templates/**/*.html"),
    *("book/_static/**/*.css", "book/_static/**/*.js", "book/_static/**/*.svg"),
]


def fingerprint(root: Path) -> dict[str, str]:
    """SHA-256 of each file that the site is made from, by its path below `root`."""
    files = {path for pattern in PATTERNS for path in root.glob(pattern) if path.is_file()}
    kept = [path for path in files if not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts)]
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(kept)}


def write(app: Sphinx, error: Exception | None) -> None:
    """Stamps a build without a warning; after any other, the next one reads every page again and warns again."""
    path = Path(app.outdir) / NAME
    path.unlink(missing_ok=True)
    if error is None and app._warncount == 0:
        path.write_text(json.dumps(fingerprint(Path(app.srcdir)), indent=1))
    else:
        (Path(app.doctreedir) / "environment.pickle").unlink(missing_ok=True)


def setup(app: Sphinx) -> None:
    app.connect("build-finished", write, priority=900)
