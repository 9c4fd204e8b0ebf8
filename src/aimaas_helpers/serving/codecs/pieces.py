"""Texts as pieces of words, the way BERT reads them."""

from collections.abc import Sequence
from functools import cached_property

import msgspec
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from aimaas_helpers.errors import BadInput
from aimaas_helpers.serving.codecs.rows import decoded, empty
from aimaas_helpers.serving.tensors import Array

_BEGIN, _END, _UNKNOWN = "[CLS]", "[SEP]", "[UNK]"
_STEP = 16
"""Rows are as long as a multiple of this: little is filled up, and rows of equal length, which share calls, occur."""


class WordPieces(msgspec.Struct, frozen=True, tag="word_pieces", dict=True):
    """Texts to int32 ``(n, length or less)``: the numbers of words and pieces of words in ``vocabulary``, as BERT's.

    Capital letters count as small ones, and accents are dropped. A row begins with ``[CLS]`` and ends with ``[SEP]``,
    and zeros, which stand for ``[PAD]``, fill it up. Of a text with more than ``length`` numbers the first count. All
    rows of one call are equally long: 16, 32, 48, … numbers, as the longest text needs, and at most ``length``.
    Raises ``BadInput`` for options that cannot be.
    """

    vocabulary: tuple[str, ...]
    length: int

    def __post_init__(self) -> None:
        if self.length < 3:
            raise BadInput(
                f"A text has a length of at least 3 pieces, its begin and its end included; not {self.length}."
            )
        pieces = set(self.vocabulary)
        if not pieces >= {_BEGIN, _END, _UNKNOWN} or self.vocabulary[0] != "[PAD]":
            raise BadInput(
                f"A vocabulary of pieces begins with '[PAD]' and holds '{_BEGIN}', '{_END}' and '{_UNKNOWN}'."
            )
        if len(pieces) != len(self.vocabulary):
            raise BadInput("A vocabulary of pieces holds each piece once.")

    @property
    def dtype(self) -> str:
        return "int32"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the longest row."""
        return (self.length,)

    @property
    def example(self) -> bytes:
        """A value that can be sent."""
        return " ".join(piece for piece in self.vocabulary[-20:] if piece.isalpha()).encode()[:60] or b"Hello"

    def split(self, text: str) -> list[str]:
        """The pieces of one text, as they are looked up; a word that has none is ``[UNK]``."""
        tokens: list[str] = self._tokenizer.encode(text, add_special_tokens=False).tokens
        return tokens

    def count(self, value: bytes) -> int:
        """How many numbers this text has, begin and end included, before it is cut."""
        return len(self._ids(decoded(value, 0, "a text"))) + 2

    def rows(self, values: Sequence[bytes]) -> Array:
        """One row a text. Raises ``BadInput`` naming the row that is no text or has no word, and ``TooLarge``."""
        texts = [self._ids(decoded(value, number, "a text")) for number, value in enumerate(values)]
        for number, ids in enumerate(texts):
            if not ids:
                raise BadInput(f"Row {number} has no word in it; expected a text.")
        steps = -(-(2 + max(map(len, texts), default=0)) // _STEP)
        rows = empty(len(values), (min(_STEP * steps, self.length),), self.dtype)
        rows[:] = 0
        for row, ids in zip(rows, texts, strict=True):
            kept = [self._begin, *ids[: self.length - 2], self._end]
            row[: len(kept)] = kept
        return rows

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        # It knows no special tokens: whoever writes "[SEP]" in a text gets three ordinary pieces.
        numbers = {piece: number for number, piece in enumerate(self.vocabulary)}
        tokenizer = Tokenizer(models.WordPiece(numbers, unk_token=_UNKNOWN, max_input_chars_per_word=100))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return tokenizer

    @cached_property
    def _begin(self) -> int:
        return self.vocabulary.index(_BEGIN)

    @cached_property
    def _end(self) -> int:
        return self.vocabulary.index(_END)
