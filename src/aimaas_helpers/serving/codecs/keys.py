"""Names of things that the model knows: users, films."""

from collections.abc import Sequence
from functools import cached_property

import msgspec

from aimaas_helpers.errors import BadInput
from aimaas_helpers.serving.codecs.rows import decoded, empty
from aimaas_helpers.serving.tensors import Array


class Keys(msgspec.Struct, frozen=True, tag="keys", dict=True):
    """Texts with up to ``length`` keys, between them blanks or commas, to int32 ``(n, length)``.

    Keys are numbered from 1 in the order of ``names``, which hold no blank and no comma; 0 fills up what is short.
    ``noun`` says in a refusal what a key stands for. Raises ``BadInput`` for options that cannot be.
    """

    names: tuple[str, ...]
    length: int = 1
    noun: str = "key"

    def __post_init__(self) -> None:
        if self.length < 1 or not self.names:
            raise BadInput(f"There is at least 1 {self.noun} in a text, not {self.length}, and a list of all.")
        if any(name.replace(",", " ").split() != [name] for name in self.names):
            raise BadInput(f"The name of a {self.noun} is a text without blanks and commas.")

    @property
    def dtype(self) -> str:
        return "int32"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return (self.length,)

    @property
    def example(self) -> bytes:
        """A value that can be sent."""
        return " ".join(self.names[: min(self.length, 3)]).encode()

    def rows(self, values: Sequence[bytes]) -> Array:
        """One row a text. Raises ``BadInput`` naming the row and what it should hold, ``TooLarge`` for too many."""
        rows = empty(len(values), self.shape, self.dtype)
        rows[:] = 0
        wanted = f"1 {self.noun}" if self.length == 1 else f"1 to {self.length} of them"
        for number, value in enumerate(values):
            names = decoded(value, number, f"a {self.noun}").replace(",", " ").split()
            if not 1 <= len(names) <= self.length:
                raise BadInput(f"Row {number} names {len(names):,}; expected {wanted}, such as {self._some}.")
            unknown = [name for name in names if name not in self._numbers]
            if unknown:
                raise BadInput(
                    f"Row {number} names the {self.noun} {unknown[0][:40]!r}, which the model has not seen; "
                    f"it knows {len(self.names):,}, such as {self._some}."
                )
            rows[number, : len(names)] = [self._numbers[name] for name in names]
        return rows

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names, start=1)}

    @property
    def _some(self) -> str:
        return " or ".join(map(repr, self.names[:2]))
