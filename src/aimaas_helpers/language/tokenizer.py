"""Between texts and tokens: byte-pair encoding, and how a conversation is written for the model."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tokenizers
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import models, pre_tokenizers

if TYPE_CHECKING:
    from .weights import Weights


def _signs() -> dict[str, int]:
    """The sign that stands for each byte in a byte-level vocabulary: itself if it can be seen, else a later one."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(256 + number): byte for number, byte in enumerate(others)}


class Tokenizer:
    """Tokens are numbers below the size of the vocabulary; each stands for some bytes of UTF-8.

    ``bpe`` is the byte-pair encoding without the ``special`` tokens, which have meanings instead of bytes.
    """

    def __init__(self, bpe: tokenizers.Tokenizer, special: Mapping[str, int], template: str) -> None:
        self._bpe = bpe
        self._special = dict(special)
        self._split = re.compile("(" + "|".join(map(re.escape, self._special)) + ")")
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        self._template = environment.from_string(template)
        signs = _signs()
        self._bytes = [b""] * bpe.get_vocab_size()
        for text, token in bpe.get_vocab().items():
            if text not in self._special:
                self._bytes[token] = bytes(signs[sign] for sign in text)
        self._unknown = {byte for sign, byte in signs.items() if bpe.token_to_id(sign) is None}

    @classmethod
    def of(cls, weights: "Weights") -> "Tokenizer":
        """The tokenizer that a GGUF file holds."""
        bpe, special = read(weights)
        return cls(bpe, special, weights.text("tokenizer.chat_template"))

    @classmethod
    def open(cls, file: Path, special: Mapping[str, int], template: str) -> "Tokenizer":
        """The tokenizer that ``read(...)[0].save`` wrote."""
        return cls(tokenizers.Tokenizer.from_file(str(file)), special, template)

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """The tokens of a text. ``<|im_end|>`` and its like are plain signs in it, unless ``special``.

        The few signs for which the vocabulary has no tokens, such as some control characters, become U+FFFD.
        """
        if not special:
            if not self._unknown.isdisjoint(text.encode()):
                text = "".join(sign if self._unknown.isdisjoint(sign.encode()) else "\ufffd" for sign in text)
            tokens: list[int] = self._bpe.encode(text, add_special_tokens=False).ids
            return tokens
        parts = self._split.split(text)
        return [
            token for part in parts for token in ([self._special[part]] if part in self._special else self.encode(part))
        ]

    def decode(self, token: int) -> bytes:
        """The bytes that a token stands for: none if it is special, and maybe only a part of a character."""
        return self._bytes[token]

    def chat(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        """Tokens of a conversation, (role, content) each, up to where the assistant's next message begins.

        The model's own template is followed. What people wrote is plain text in it, whatever it looks like: nobody
        can end his message, and begin another in somebody else's name, by writing ``<|im_end|>``.
        """
        marks = [f"\ue000{number}\ue001" for number in range(len(messages))]
        marked = [{"role": role, "content": mark} for (role, _), mark in zip(messages, marks, strict=True)]
        frame = self._template.render(messages=marked, add_generation_prompt=True)
        tokens: list[int] = []
        for part in re.split("(\ue000[0-9]+\ue001)", frame):
            if part in marks:
                tokens += self.encode(messages[marks.index(part)][1])
            else:
                tokens += self.encode(part, special=True)
        return tokens


def read(weights: "Weights") -> tuple[tokenizers.Tokenizer, dict[str, int]]:
    """The byte-pair encoding in a GGUF file, and its special tokens."""
    texts, kinds = weights.text("tokenizer.ggml.tokens"), weights.text("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in weights.text("tokenizer.ggml.merges")]
    bpe = tokenizers.Tokenizer(models.BPE({text: token for token, text in enumerate(texts)}, merges))
    # "smollm" in GGUF's list of tokenizers: each digit is a token, the rest is split as in GPT-2.
    digits, words = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    return bpe, {text: token for token, (text, kind) in enumerate(zip(texts, kinds, strict=True)) if kind == _CONTROL}


_CONTROL = 3
"""The kind of special tokens in GGUF."""
