"""Text from a model, a piece at a time: what every generator shares, and the one for models that predict bytes."""

import asyncio
import codecs
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from aimaas_helpers.errors import BadInput, Overloaded
from aimaas_helpers.serving.call import Call
from aimaas_helpers.serving.codecs import Utf8
from aimaas_helpers.serving.plane import Plane
from aimaas_helpers.serving.repository import Model
from aimaas_helpers.serving.tensors import Array

END = 0
"""The byte after which a text is over; no text holds it."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen and when to end.

    ``temperature`` 0 takes the likeliest; otherwise the scores are divided by it, and tokens drawn from the smallest
    set of likely ones whose probability reaches ``top_p``. The same ``seed`` draws the same.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


class Message(NamedTuple):
    """What one side of a conversation said."""

    role: str
    content: str


class Prompt(NamedTuple):
    """What the model reads first, and texts that end what it writes."""

    tokens: Sequence[int]
    stop: tuple[str, ...] = ()


class Piece(NamedTuple):
    """Some text, maybe none, from so many tokens; ``finish`` is "stop" or "length" in the last piece."""

    text: str
    tokens: int
    finish: str | None = None


class Generator(Protocol):
    """Writes on; knows a model's tokens and how it expects a conversation to look."""

    def text(self, text: str) -> Prompt:
        """A prompt to be continued as it is."""
        ...

    def chat(self, messages: Sequence[Message]) -> Prompt:
        """A prompt to be continued with the assistant's next message."""
        ...

    def generate(self, prompt: Prompt, sampling: Sampling, call: Call) -> AsyncGenerator[Piece]:
        """Pieces of text. Raises what ``Plane.infer`` does."""
        ...


def generator(plane: Plane, model: Model) -> Generator:
    """The generator for a model that was exported with the capability "completions" or "chat"."""
    return ByteGenerator(plane, model)


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
            token = choose(await self._scores(context, call, begun=number > 0), sampling, random)
            if token == END:
                yield Piece(writer.rest(), 0, "stop")
                return
            context = (context + bytes([token]))[-self._length :]
            text = writer.write(bytes([token]))
            yield Piece(text, 1, "stop" if writer.stopped else None)
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


def choose(scores: Array, sampling: Sampling, random: np.random.Generator) -> int:
    """A token by its score, shape (tokens,). Raises ``BadInput`` if the model computed none that can be compared."""
    if not np.isfinite(scores.max()):
        raise BadInput("The model computed scores that are not finite for this text; try another one.")
    if sampling.temperature == 0:
        return int(scores.argmax())
    with np.errstate(over="ignore"):
        weights = np.exp((scores - scores.max()).astype(np.float64) / sampling.temperature)
    order = np.argsort(-weights, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    kept = int(np.searchsorted(reached, sampling.top_p)) + 1
    return int(order[np.searchsorted(reached[:kept] / reached[:kept][-1], random.random(), side="right")])


class Writer:
    """Bytes to text that can be shown: never half a character, and nothing that may yet become a text of ``stop``."""

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self.stopped = False
        self._stop = stop
        self._held = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, data: bytes) -> str:
        """Text that has become certain; ends before the first text of ``stop``, and then ``stopped`` is true."""
        self._held += self._decoder.decode(data)
        held = self._held
        found = [at for stop in self._stop if (at := held.find(stop)) >= 0]
        self.stopped = bool(found)
        begun = [n for stop in self._stop for n in range(1, min(len(stop), len(held) + 1)) if held.endswith(stop[:n])]
        end = min(found) if found else len(held) - max(begun, default=0)
        self._held = held[end:]
        return held[:end]

    def rest(self) -> str:
        """What was held back, when nothing more will come."""
        return self._held + self._decoder.decode(b"", final=True)


async def together(streams: Sequence[AsyncGenerator[Piece]], call: Call) -> AsyncGenerator[tuple[int, Piece]]:
    """The pieces of several texts with the number of each text, as they come.

    Raises what the streams do, ``Expired`` at the deadline and ``Disconnected`` as soon as the client goes away. When
    it ends, however it ends, the streams have ended too.
    """
    watch = asyncio.ensure_future(call.wait(asyncio.get_running_loop().create_future()))  # ends by raising only
    coming = {asyncio.ensure_future(anext(stream)): number for number, stream in enumerate(streams)}
    try:
        while coming:
            done, _ = await asyncio.wait({watch, *coming}, return_when=asyncio.FIRST_COMPLETED)
            if watch in done:
                watch.result()
            for task in sorted(done, key=coming.__getitem__):
                number, piece = coming.pop(task), task.result()
                if piece.finish is None:
                    coming[asyncio.ensure_future(anext(streams[number]))] = number
                yield number, piece
    finally:
        for task in (watch, *coming):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(watch, *coming, return_exceptions=True)
