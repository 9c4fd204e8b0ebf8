"""Text from a model, a piece at a time: what every generator shares."""

import asyncio
import codecs
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from aimaas_helpers.errors import BadInput
from aimaas_helpers.serving.call import Call
from aimaas_helpers.serving.tensors import Array


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen and when to end.

    ``temperature`` 0 takes the likeliest; otherwise the scores are divided by it, and tokens drawn from the ``top_k``
    likeliest (0: from all), and of these from the smallest set whose probability reaches ``top_p``. The same ``seed``
    draws the same. ``repetition_penalty`` divides the positive scores of tokens that the text has, and multiplies
    negative ones. ``logprobs``, unless None, is of how many alternatives to each token the probability is told.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None


class Message(NamedTuple):
    """What one side of a conversation said."""

    role: str
    content: str


class Prompt(NamedTuple):
    """What the model reads first, and texts that end what it writes."""

    tokens: Sequence[int]
    stop: tuple[str, ...] = ()


class Scored(NamedTuple):
    """A token's bytes and the logarithm of its probability, and the same of the likeliest ones in its place."""

    token: bytes
    logprob: float
    top: tuple[tuple[bytes, float], ...] = ()


class Piece(NamedTuple):
    """Some text, maybe none, from so many tokens; ``finish`` is "stop" or "length" in the last piece.

    ``scored`` tells of its token, if that was asked for; ``cached`` is how much of the prompt was known already.
    """

    text: str
    tokens: int
    finish: str | None = None
    scored: Scored | None = None
    cached: int = 0


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


def choose(scores: Array, sampling: Sampling, random: np.random.Generator, seen: Sequence[int] = ()) -> int:
    """A token by its score, shape (tokens,). ``seen`` are the tokens of the text so far.

    Raises ``BadInput`` if the model computed no scores that can be compared.
    """
    if not np.isfinite(scores.max()):
        raise BadInput("The model computed scores that are not finite for this text; try another one.")
    if sampling.repetition_penalty != 1 and len(seen):
        scores = scores.copy()
        known = np.unique(np.asarray(seen))
        factor = np.where(scores[known] > 0, 1 / sampling.repetition_penalty, sampling.repetition_penalty)
        scores[known] *= factor.astype(scores.dtype)
    if sampling.temperature == 0:
        return int(scores.argmax())
    with np.errstate(over="ignore"):
        weights = np.exp((scores - scores.max()).astype(np.float64) / sampling.temperature)
    order = None
    if sampling.top_k or sampling.top_p < 1:
        likely = weights >= (1 - sampling.top_p) * weights.mean()  # the rest together is too little to be reached
        order = np.flatnonzero(likely)
        order = order[np.argsort(-weights[order], kind="stable")][: sampling.top_k or None]
        whole = weights[order].sum() if sampling.top_k else weights.sum()
        weights = weights[order]
        reached = np.cumsum(weights) / whole
        weights = weights[: int(np.searchsorted(reached, sampling.top_p)) + 1]
    reached = np.cumsum(weights)
    drawn = int(np.searchsorted(reached / reached[-1], random.random(), side="right"))
    return drawn if order is None else int(order[drawn])


def scored(scores: Array, token: int, sampling: Sampling, spell: Callable[[int], bytes]) -> Scored | None:
    """What the model thought of ``token``, before temperature and penalty; None unless ``sampling`` asks for it."""
    if sampling.logprobs is None:
        return None
    exact = scores.astype(np.float64) - scores.max()
    exact -= np.log(np.exp(exact).sum())
    likeliest = np.argsort(-exact, kind="stable")[: sampling.logprobs].tolist()
    return Scored(spell(token), float(exact[token]), tuple((spell(other), float(exact[other])) for other in likeliest))


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
