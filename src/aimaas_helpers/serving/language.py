"""The generator for a language model with a tokenizer and a cache of its own: see the package ``language``."""

import contextlib
from collections.abc import AsyncGenerator, Sequence

import numpy as np

from aimaas_helpers.errors import BadInput
from aimaas_helpers.language.tokenizer import Tokenizer
from aimaas_helpers.serving.call import Call
from aimaas_helpers.serving.continuous import Chosen, Scheduler
from aimaas_helpers.serving.generation import Message, Piece, Prompt, Sampling, Writer, choose, scored
from aimaas_helpers.serving.tensors import Array

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""Who may speak in a conversation, and what the model knows them as."""


class TooLong(BadInput):
    """The prompt leaves no room for an answer."""

    code = "context_length_exceeded"


class LanguageGenerator:
    """``ends`` are the tokens that end a text."""

    def __init__(self, scheduler: Scheduler, tokenizer: Tokenizer, ends: Sequence[int]) -> None:
        self._scheduler = scheduler
        self._tokenizer = tokenizer
        self._ends = frozenset(ends)

    def admit(self) -> None:
        """Raises ``Overloaded`` if no more texts may wait."""
        self._scheduler.admit()

    def text(self, text: str) -> Prompt:
        return self._prompt(self._tokenizer.encode(text) or sorted(self._ends)[:1])

    def chat(self, messages: Sequence[Message]) -> Prompt:
        for message in messages:
            if message.role not in _ROLES:
                raise BadInput(f"This model knows the roles {', '.join(_ROLES)}; not '{message.role}'.")
        return self._prompt(self._tokenizer.chat([(_ROLES[role], content) for role, content in messages]))

    def _prompt(self, tokens: list[int]) -> Prompt:
        most = self._scheduler.engine.context
        if len(tokens) >= most:
            raise TooLong(
                f"This prompt has {len(tokens):,} tokens; prompt and answer together have room for {most:,}. "
                "Send less: leave out old messages, or cut the text."
            )
        return Prompt(tokens)

    async def generate(self, prompt: Prompt, sampling: Sampling, call: Call) -> AsyncGenerator[Piece]:
        random = np.random.default_rng(sampling.seed)
        writer = Writer((*prompt.stop, *sampling.stop))
        most = min(sampling.max_tokens, self._scheduler.engine.context - len(prompt.tokens))
        seen = list(prompt.tokens)

        def next_token(scores: Array) -> Chosen:
            token = choose(scores, sampling, random, seen)
            seen.append(token)
            over = token in self._ends or len(seen) - len(prompt.tokens) == most
            return Chosen(token, over, scored(scores, token, sampling, self._tokenizer.decode))

        async with contextlib.aclosing(self._scheduler.write(prompt.tokens, next_token, call)) as tokens:
            async for chosen, cached in tokens:
                if chosen.token in self._ends:
                    yield Piece(writer.rest(), 0, "stop", None, cached)
                    return
                text = writer.write(self._tokenizer.decode(chosen.token))
                if writer.stopped or not chosen.over:
                    yield Piece(text, 1, "stop" if writer.stopped else None, chosen.about, cached)
                else:
                    yield Piece(text + writer.rest(), 1, "length", chosen.about, cached)
                if writer.stopped or chosen.over:
                    return
