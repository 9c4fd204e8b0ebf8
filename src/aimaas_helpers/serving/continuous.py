"""Continuous batching: many texts written at once, a token of each in every step, by one language model.

Between steps texts come and go: one that is over, or whose client went away, gives its slot of the cache to the next
that waits. A prompt is read in blocks of ``BLOCK`` tokens, and a block that another slot has read already, after the
same beginning, is copied instead of computed. Blocks begin at the same places in every text, so a text is computed by
the same operations, and comes out the same to the last bit, whether it is alone, in company, or partly copied.

Everything here runs on the event loop, except the steps.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple

import numpy as np

from aimaas_helpers.errors import Overloaded
from aimaas_helpers.language.engine import Engine, Piece
from aimaas_helpers.serving.call import Call
from aimaas_helpers.serving.metrics import BATCH_ROWS, QUEUE_SECONDS
from aimaas_helpers.serving.tensors import Array

BLOCK = 32
"""Tokens that are read together, and that prompts share or do not."""

_ROOM = 2 * BLOCK
"""Tokens of prompts in one step: more would keep those waiting who are being written to."""

_AHEAD = 16
"""Tokens that may wait for a slow client; then its text waits, and no other."""


class Chosen(NamedTuple):
    """The next token, whether it ends the text, and what else its text's reader is to know."""

    token: int
    over: bool
    about: Any = None


Choose = Callable[[Array], Chosen]
"""From scores, shape (tokens,), to the next token. It is called once for each token of a text, in their order."""


class _Text:
    """One text on its way."""

    def __init__(self, prompt: Sequence[int], choose: Choose, call: Call) -> None:
        self.prompt = np.array(prompt, np.int32)
        # A name for each whole block: all tokens up to its end. The last token is in none, for its scores are needed.
        whole = (len(prompt) - 1) // BLOCK
        self.blocks = [self.prompt[: BLOCK * (number + 1)].tobytes() for number in range(whole)]
        self.choose = choose
        self.call = call
        self.arrived = time.monotonic()
        self.slot = -1  # none yet
        self.read = 0  # places of its slot that are filled
        self.copied = 0  # of these, not computed
        self.last = -1  # the token written last
        self.written: asyncio.Queue[Chosen | Exception] = asyncio.Queue(_AHEAD)
        self.ended = False


class _Plan(NamedTuple):
    """What one step copies (source, target, place), computes, and for which of its pieces it chooses a token."""

    copies: list[tuple[int, int, int]]
    pieces: list[Piece]
    writing: list[tuple[int, _Text]]
    fresh: dict[bytes, int]  # blocks that will have been read, and in which slot


class Scheduler:
    """Writes with one engine for many callers; at most ``queue`` texts wait for a slot."""

    def __init__(
        self, engine: Engine, executor: Executor | None = None, *, queue: int = 256, labels: tuple[str, str] = ("", "")
    ) -> None:
        self.engine = engine
        self._executor = executor
        self._queue = queue
        self._free = deque(range(engine.slots))  # the one that was left longest ago comes first
        self._waiting: deque[_Text] = deque()
        self._active: list[_Text] = []
        self._owner: dict[bytes, int] = {}  # in which slot a block is
        self._driver: asyncio.Task[None] | None = None
        self._news = asyncio.Event()  # a client took a token, or went away
        self._seconds = 1.0  # that a text lately took
        self._queue_seconds = QUEUE_SECONDS.labels(*labels)
        self._batch_rows = BATCH_ROWS.labels(*labels)

    def admit(self) -> None:
        """Raises ``Overloaded`` if no more texts may wait."""
        if len(self._waiting) >= len(self._free) + self._queue:
            raise Overloaded(
                f"{self._queue} texts wait for this model, and that is the most that may; try again later.",
                self._seconds * len(self._waiting) / self.engine.slots,
            )

    async def write(self, prompt: Sequence[int], choose: Choose, call: Call) -> AsyncGenerator[tuple[Chosen, int]]:
        """Tokens after ``prompt``, each with how many tokens of the prompt were copied, until one is the last.

        Close the generator to end the text sooner. Raises ``Overloaded``, and what ``choose`` and the engine raise.
        """
        self.admit()
        text = _Text(prompt, choose, call)
        self._waiting.append(text)
        if self._driver is None or self._driver.done():
            self._driver = asyncio.create_task(self._drive())
        try:
            while not text.ended or not text.written.empty():
                chosen = await text.written.get()
                self._news.set()
                if isinstance(chosen, Exception):
                    raise chosen
                yield chosen, text.copied
        finally:
            text.ended = True
            self._news.set()
            if text in self._waiting:
                self._waiting.remove(text)

    async def _drive(self) -> None:
        """One step after the other while there are texts."""
        loop = asyncio.get_running_loop()
        while self._seat():
            plan = self._plan()
            if not plan.pieces and not plan.copies:  # every client has tokens to take first
                self._news.clear()
                await self._news.wait()
                continue
            self._batch_rows.observe(sum(len(piece.tokens) for piece in plan.pieces))
            try:
                chosen = await loop.run_in_executor(self._executor, self._step, plan)
            except Exception as error:
                for text in self._active:
                    self._settle(text, error)
                continue
            self._owner |= plan.fresh
            for (_, text), one in zip(plan.writing, chosen, strict=True):
                self._settle(text, one)

    def _seat(self) -> bool:
        """Give the slots of texts that have ended to those that wait. Is there any text?"""
        for text in self._active:
            if text.ended:
                self._free.append(text.slot)
                self._seconds += 0.1 * (time.monotonic() - text.arrived - self._seconds)
        self._active = [text for text in self._active if not text.ended]
        while self._free and self._waiting:
            text = self._waiting.popleft()
            text.slot = self._free.popleft()
            text.call.queued = time.monotonic() - text.arrived
            self._queue_seconds.observe(text.call.queued)
            # Of what the slot's last text left, a beginning that the new one shares stays; the rest is overwritten.
            mine = [self._owner.get(block) == text.slot for block in text.blocks]
            kept = text.blocks[: [*mine, False].index(False)]
            text.read = text.copied = BLOCK * len(kept)
            self._owner = {block: slot for block, slot in self._owner.items() if slot != text.slot or block in kept}
            self._active.append(text)
        return bool(self._active)

    def _plan(self) -> _Plan:
        plan = _Plan([], [], [], {})
        room = _ROOM
        for text in self._active:
            if text.read >= len(text.prompt):
                if not text.written.full():
                    plan.writing.append((len(plan.pieces), text))
                    plan.pieces.append(Piece(text.slot, text.read, [text.last]))
                    text.read += 1
                continue
            while text.read < len(text.prompt):
                number = text.read // BLOCK
                block = text.blocks[number] if number < len(text.blocks) else b""
                if block in self._owner:
                    plan.copies.append((self._owner[block], text.slot, text.read))
                    text.read += BLOCK
                    text.copied += BLOCK
                    continue
                tokens = text.prompt[text.read : text.read + BLOCK].tolist()
                if block in plan.fresh or len(tokens) > room:  # another reads it now, and it can be copied then
                    break
                if block:
                    plan.fresh[block] = text.slot
                plan.pieces.append(Piece(text.slot, text.read, tokens))
                text.read += len(tokens)
                room -= len(tokens)
                if text.read == len(text.prompt):
                    plan.writing.append((len(plan.pieces) - 1, text))
        return plan

    def _step(self, plan: _Plan) -> list[Chosen | Exception]:
        """In a thread: the next token of each text that gets one."""
        for source, target, start in plan.copies:
            self.engine.copy(source, target, start, start + BLOCK)
        if not plan.pieces:
            return []
        scores = self.engine.step(plan.pieces)
        chosen: list[Chosen | Exception] = []
        for number, text in plan.writing:
            try:
                chosen.append(text.choose(scores[number]))
            except Exception as error:  # which concerns this text alone
                chosen.append(error)
        return chosen

    def _settle(self, text: _Text, chosen: Chosen | Exception) -> None:
        if isinstance(chosen, Exception):
            text.ended = True
            while text.written.full():
                text.written.get_nowait()
        else:
            text.last, text.ended = chosen.token, text.ended or chosen.over
        text.written.put_nowait(chosen)
