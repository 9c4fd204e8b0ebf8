"""Texts: as bytes, or as words."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import msgspec
import numpy as np

from aimaas_helpers.errors import BadInput
from aimaas_helpers.serving.codecs.rows import decoded, empty
from aimaas_helpers.serving.tensors import Array


class Utf8(msgspec.Struct, frozen=True, tag="utf8"):
    """Texts to int32 ``(n, length)``, a number a byte: the simplest tokenizer, which needs no vocabulary.

    Of a longer text it keeps the *last* ``length`` bytes, which is what predicting the next one needs; a shorter text
    has zeros in front. Raises ``BadInput`` for a length that cannot be.
    """

    length: int

    def __post_init__(self) -> None:
        if self.length < 1:
            raise BadInput(f"A text has a length of at least 1 byte, not {self.length}.")

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
        return b"Hello"

    def count(self, value: bytes) -> int:
        """How many bytes this text has, before it is cut."""
        return len(value)

    def rows(self, values: Sequence[bytes]) -> Array:
        """One row a text. Raises ``TooLarge`` for too many rows."""
        rows = empty(len(values), self.shape, self.dtype)
        for row, value in zip(rows, values, strict=True):
            numbers = np.frombuffer(value[-self.length :], np.uint8)
            row[: self.length - len(numbers)] = 0
            row[self.length - len(numbers) :] = numbers
        return rows


class Words(msgspec.Struct, frozen=True, tag="words", dict=True):
    """Texts in any language to int32 ``(n, length)``, a number a word.

    ``pattern`` says what a word is: by default a run of letters and digits, and every other sign by itself. Capital
    letters count as small ones, and signs that differ in form only as one (Unicode's NFKC). With ``pairs``, any two
    neighbours are one more word, such as "not good". Words are numbered from 2 in the order of ``vocabulary``; 1 is a
    word that is not in it, and 0 fills up a short text at its end. Of a longer one the first ``length`` words count.
    Raises ``BadInput`` for options that cannot be.
    """

    vocabulary: tuple[str, ...]
    length: int
    pattern: str = r"\w+|[^\w\s]"
    pairs: bool = False

    def __post_init__(self) -> None:
        if self.length < 1 or not self.vocabulary:
            raise BadInput(f"A text has a length of at least 1 word, not {self.length}, and a vocabulary.")
        try:
            groups = re.compile(self.pattern).groups
        except re.error as error:
            raise BadInput(f"The pattern {self.pattern!r} is no regular expression ({error}).") from None
        if groups:
            raise BadInput(f"The pattern {self.pattern!r} has a group; write (?:…) instead of (…).")

    @classmethod
    def learn(cls, texts: Iterable[str], size: int, length: int, **options: Any) -> Self:
        """With the ``size`` words that stand most often in ``texts``; of equally frequent ones, the first seen."""
        codec = cls(("?",), length, **options)
        counts = Counter(word for text in texts for word in codec.split(text))
        return cls(tuple(word for word, _ in counts.most_common(size)), length, **options)

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
        return " ".join(word for word in self.vocabulary[:20] if word.isalnum()).encode()[:60] or b"Hello"

    def split(self, text: str) -> list[str]:
        """The words of one text, as they are looked up."""
        words = re.findall(self.pattern, unicodedata.normalize("NFKC", text).lower())
        return words + [f"{one} {other}" for one, other in pairwise(words)] if self.pairs else words

    def count(self, value: bytes) -> int:
        """How many words this text has, before it is cut."""
        return len(self.split(decoded(value, 0, "a text")))

    def rows(self, values: Sequence[bytes]) -> Array:
        """One row a text. Raises ``BadInput`` naming the row that is no text or has no word, and ``TooLarge``."""
        rows = empty(len(values), self.shape, self.dtype)
        for number, value in enumerate(values):
            words = self.split(decoded(value, number, "a text"))[: self.length]
            if not words:
                raise BadInput(f"Row {number} has no word in it; expected a text.")
            rows[number, : len(words)] = [self._numbers.get(word, 1) for word in words]
            rows[number, len(words) :] = 0
        return rows

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.vocabulary, start=2)}
