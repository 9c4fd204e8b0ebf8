"""What the book's site needs beyond Jupyter Book: offline mathematics, checked pages, sounds, generated tables."""

from sphinx.application import Sphinx

from . import cards, maths, pages, sounds, speed, stamp, syllabus


def setup(app: Sphinx) -> dict[str, bool]:
    for part in (maths, pages, cards, sounds, speed, syllabus, stamp):
        part.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
