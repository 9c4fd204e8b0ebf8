"""The generator for models that predict bytes, and which generator a model has."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence

import numpy as np

from aimaas_helpers.errors import Overloaded
from aimaas_helpers.serving.call import Call
from aimaas_helpers.serving.codecs import Utf8
from aimaas_helpers.serving.generation import Generator, Message, Piece, Prompt, Sampling, Writer, choose, scored
from aimaas_helpers.serving.plane import Plane
from aimaas_helpers.serving.repository import Model
from aimaas_helpers.serving.tensors import Array

END = 0
"""The byte after which a text is over; no text holds it."""


def generator(plane: Plane, model: Model) -> Generator:
    """The generator for a model that was exported with the capability "completions" or "chat"."""
    return model.writer or ByteGenerator(plane, model)


class ByteGenerator:
    """For a model that scores, from the last bytes of a text, each of the 256 bytes that may come next.

    A conversation is one line a message, ``role: content``, and the answer is the line that begins ``assistant: ``.
    """

    def __init__(self, plane: Plane, model: Model) -> None:
        self._plane = plane
        self._model = model
        ((self._input, codec),) = model.card.codecs.items()
        assert isinstance(codec, Utf8)
        self._length = codec.length

    def text(self, text: str) -> Prompt:
        return Prompt(text.encode())

    def chat(self, messages: Sequence[Message]) -> Prompt:
        lines = [f"{role}: {' '.join(content.splitlines())}\n" for role, content in messages]
        return Prompt("".join([*lines, "assistant: "]).encode(), stop=("\n",))

    async def generate(self, prompt: Prompt, sampling: Sampling, call: Call) -> AsyncGenerator[Piece]:
        random = np.random.default_rng(sampling.seed)
        writer = Writer((*prompt.stop, *sampling.stop))
        context = bytes(prompt.tokens)[-self._length :]
        for number in range(sampling.max_tokens):
            scores = await self._scores(context, call, begun=number > 0)
            token = choose(scores, sampling, random, prompt.tokens[-self._length :])
            if token == END:
                yield Piece(writer.rest(), 0, "stop")
                return
            context = (context + bytes([token]))[-self._length :]
            text = writer.write(bytes([token]))
            finish = "stop" if writer.stopped else None
            yield Piece(text, 1, finish, scored(scores, token, sampling, lambda token: bytes([token])))
            if writer.stopped:
                return
        yield Piece(writer.rest(), 0, "length")

    async def _scores(self, context: bytes, call: Call, begun: bool) -> Array:
        """Shape (256,). A text that was begun waits for room in the queue rather than lose what there is of it."""
        while True:
            try:
                outputs = await self._plane.infer(self._model, {self._input: np.array([context], object)}, call)
            except Overloaded as refusal:
                if not begun or time.monotonic() > call.deadline:
                    raise
                await asyncio.sleep(max(refusal.retry_after, 0.01))
            else:
                (output,) = outputs.values()
                scores: Array = output[0]
                return scores
