"""A progress bar whose last word is always the same, so that a notebook's stored outputs are."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Bar(Protocol):
    """Moves one step on, and shows ``note`` beside it."""

    def advance(self, note: str) -> None: ...


class _Quiet:
    def advance(self, note: str) -> None:
        """Neither a terminal nor a notebook is watching."""


class _TerminalBar:
    def __init__(self, doing: str, total: int) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=total, desc=doing, leave=False)

    def advance(self, note: str) -> None:
        self.bar.set_postfix_str(note)
        self.bar.update()


class _NotebookBar:
    """A line that fills while work is done and ends as the title alone, so that stored outputs stay the same."""

    def __init__(self, doing: str, title: str, total: int) -> None:
        from IPython.display import display

        self.doing, self.title, self.total, self.done, self.drawn = doing, title, total, 0, 0.0
        self.handle = display(self._text(title), raw=True, display_id=True)

    @staticmethod
    def _text(text: str) -> dict[str, str]:
        return {"text/plain": text}

    def advance(self, note: str) -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.drawn > 0.2:
            self.drawn = now
            filled = 30 * self.done // self.total
            bar = "█" * filled + "░" * (30 - filled)
            self.handle.update(self._text(f"{self.doing}  {bar}  {100 * self.done // self.total} %  {note}"), raw=True)

    def close(self) -> None:
        self.handle.update(self._text(self.title), raw=True)


@contextmanager
def progress(doing: str, title: str, total: int) -> Iterator[Bar]:
    """A bar of ``total`` steps for whoever is watching: a notebook, where ``title`` is left, a terminal, or nobody."""
    if "ipykernel" in sys.modules and _in_kernel():
        notebook = _NotebookBar(doing, title, total)
        yield notebook
        notebook.close()
    elif sys.stderr.isatty():
        terminal = _TerminalBar(doing, total)
        with terminal.bar:
            yield terminal
    else:
        yield _Quiet()


def _in_kernel() -> bool:
    from IPython.core.getipython import get_ipython

    return get_ipython() is not None
