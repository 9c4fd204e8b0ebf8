"""Boards of four in a row."""

from collections.abc import Sequence

import msgspec
import numpy as np

from aimaas_helpers.errors import BadInput
from aimaas_helpers.serving.codecs.rows import decoded, empty
from aimaas_helpers.serving.tensors import Array


class Board(msgspec.Struct, frozen=True, tag="board"):
    """Boards as texts to float32 ``(n, height, width, 2)``: ones where the player to move has a stone, and the other.

    A text has a line a row, the top first, of ``.`` (empty), ``x`` and ``o``; lines end with a line break or ``/``.
    Stones fall to the bottom of their column, ``x`` begins, and whoever has ``connect`` in a line has won: boards with
    a stone in the air are refused, with too many of one sign, and those of games that are over. Raises ``BadInput`` for
    options that cannot be.
    """

    height: int = 6
    width: int = 7
    connect: int = 4

    def __post_init__(self) -> None:
        if not 2 <= self.connect <= max(self.height, self.width) or min(self.height, self.width) < 1:
            raise BadInput(
                f"A board has at least 1 row, 1 column and room for {self.connect} in a line, "
                f"not {self.height} rows and {self.width} columns."
            )

    @property
    def dtype(self) -> str:
        return "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return (self.height, self.width, 2)

    @property
    def example(self) -> bytes:
        """A value that can be sent: the empty board."""
        return "/".join(["." * self.width] * self.height).encode()

    def rows(self, values: Sequence[bytes]) -> Array:
        """One row a board. Raises ``BadInput`` naming the row and what is wrong, ``TooLarge`` for too many."""
        rows = empty(len(values), self.shape, self.dtype)
        for number, value in enumerate(values):
            text = decoded(value, number, "a board")
            try:
                rows[number] = self._stones(text)
            except BadInput as error:
                raise BadInput(
                    f"Row {number} {error}; expected the board of a game that goes on, such as "
                    f"'{self.example.decode()}', where x begins."
                ) from None
        return rows

    def _stones(self, text: str) -> Array:
        """Shape (height, width, 2), 0 or 1. Raises ``BadInput``."""
        lines = text.lower().replace("/", "\n").split()
        if [len(line) for line in lines] != [self.width] * self.height:
            raise BadInput(f"is not a board of {self.height} rows and {self.width} columns")
        signs = np.array([list(line) for line in lines])
        strange = np.setdiff1d(signs, [".", "x", "o"])
        if strange.size:
            raise BadInput(f"has the sign {str(strange[0])!r}, which is none of '.', 'x' and 'o'")
        x, o = signs == "x", signs == "o"
        if not 0 <= x.sum() - o.sum() <= 1:
            raise BadInput(f"has {x.sum()} x and {o.sum()} o, so somebody moved twice")
        full = x | o
        if (full[:-1] & ~full[1:]).any():
            raise BadInput("has a stone with nothing below it")
        for sign, stones in (("x", x), ("o", o)):
            if self._in_a_line(stones):
                raise BadInput(f"has {self.connect} {sign} in a line: the game is over")
        if full.all():
            raise BadInput("is full: the game is over")
        return np.stack([x, o] if x.sum() == o.sum() else [o, x], axis=-1)

    def _in_a_line(self, stones: Array) -> bool:
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
            line = stones
            for _ in range(self.connect - 1):
                line = stones & _shifted(line, down, right)
            if line.any():
                return True
        return False


def _shifted(stones: Array, down: int, right: int) -> Array:
    """Moved by so many rows and columns; what leaves the board is gone."""
    moved = np.zeros_like(stones)
    height, width = stones.shape
    left = max(-right, 0)
    moved[down:, max(right, 0) : width - left] = stones[: height - down, left : width - max(right, 0)]
    return moved
