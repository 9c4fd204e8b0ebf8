"""Claims that fail the run when they are false, and exercises that check themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class ClaimFailed(AssertionError):
    """A sentence in the book is not true of this run."""


def claim(holds: object, sentence: str) -> None:
    """Print ``sentence`` with a tick if it holds; otherwise stop the notebook.

    The sentence reads the same on every machine: it names the bound, not the number measured.
    """
    if not bool(holds):
        raise ClaimFailed(f"This does not hold here: {sentence}")
    print(f"✓ {sentence}")


class Exercise:
    """A question with an answer that can be checked, and a new hint after each wrong try."""

    def __init__(self, accepts: Callable[[Any], bool], hints: Sequence[str]) -> None:
        self._accepts, self._hints, self._tries = accepts, list(hints), 0

    def check(self, answer: Any) -> None:
        """Say whether ``answer`` is right. ``...`` means that there is none yet; a wrong one earns the next hint."""
        if answer is ...:
            print("Your turn: replace the ... above and run this cell again.")
        elif self._right(answer):
            print("✓ Correct.")
        else:
            hint = self._hints[min(self._tries, len(self._hints) - 1)]
            self._tries += 1
            print(f"Not yet. Hint: {hint}")

    def solution(self, answer: Any) -> None:
        """Check the book's own answer; the run fails if it is wrong."""
        claim(self._right(answer), "The solution is correct.")

    def _right(self, answer: Any) -> bool:
        try:
            return bool(self._accepts(answer))
        except Exception:  # an answer of the wrong kind is a wrong answer, not a crash
            return False


def exercise(expected: Any, hints: Sequence[str], *, tolerance: float = 0.0) -> Exercise:
    """An :class:`Exercise`.

    ``expected`` is the answer — a number, text or array — or a function that takes the reader's answer (itself often
    a function) and returns whether it is right. Numbers and arrays may differ by ``tolerance``, relative.
    """
    if not hints:
        raise ValueError("An exercise needs at least one hint.")
    if callable(expected):
        return Exercise(expected, hints)
    if isinstance(expected, str):
        return Exercise(lambda answer: answer.strip().casefold() == expected.casefold(), hints)
    wanted = np.asarray(expected)
    return Exercise(
        lambda answer: (
            np.shape(answer) == wanted.shape
            and np.allclose(np.asarray(answer, dtype=float), wanted, rtol=tolerance, atol=1e-9)
        ),
        hints,
    )
