"""Rows of several requests in one call of the model.

A batch opens with the first row and closes ``window`` seconds later, at ``max_batch`` rows, or, if the model is busy,
when it is free again: with no window, which is the default, nothing ever waits for company, and batches form by
themselves under load. Everything here runs on the event loop, except the calls of models that take long.
"""

import asyncio
import functools
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

import numpy as np

from aimaas_helpers.errors import Expired, Overloaded
from aimaas_helpers.serving.call import Call
from aimaas_helpers.serving.metrics import BATCH_ROWS, QUEUE_SECONDS
from aimaas_helpers.serving.runtime import Runtime
from aimaas_helpers.serving.tensors import Array

_QUICK = 0.001
"""Seconds: a shorter call of the model runs at once; handing it to a thread would cost as much."""

_AHEAD = 2
"""Batches in threads: while one runs the next is at hand, so that the model need not wait for the event loop."""

Outputs = dict[str, Array]


class _Item:
    """The rows of one request, and the promise of their outputs."""

    __slots__ = ("arrived", "call", "future", "inputs", "kind", "rows", "size")

    def __init__(self, inputs: Mapping[str, Array], rows: int, call: Call, future: "asyncio.Future[Outputs]") -> None:
        self.inputs = inputs
        self.rows = rows
        self.size = sum(array.size for array in inputs.values())  # a row may be long or short
        self.call = call
        self.future = future
        self.arrived = time.monotonic()
        self.kind = [array.shape[1:] for array in inputs.values()]  # rows of one batch are equally long


class Batcher:
    """Runs one model for many callers; ``max_batch`` and ``queue`` count rows, ``window`` is in seconds.

    ``together`` says whether rows of different requests may share a call. ``executor`` runs calls that take long, one
    at a time, as an interpreter has to.
    """

    def __init__(
        self,
        runtime: Runtime,
        executor: Executor | None = None,
        *,
        together: bool = True,
        max_batch: int = 64,
        window: float = 0.0,
        queue: int = 256,
        labels: tuple[str, str] = ("", ""),
    ) -> None:
        self._runtime = runtime
        self._executor = executor
        self._together = together
        self._max_batch = max_batch if together else 1
        self._window = window
        self._queue = queue
        self._waiting: deque[_Item] = deque()
        self._rows = self._size = 0  # of those that wait
        self._running = 0  # batches in threads
        self._flush: asyncio.Handle | None = None
        self._queue_seconds = QUEUE_SECONDS.labels(*labels)
        self._batch_rows = BATCH_ROWS.labels(*labels)

    def admit(self, rows: int = 1) -> None:
        """Raises ``Overloaded`` if so many rows cannot wait here. One request is always let in when none waits."""
        if self._waiting and self._rows + rows > self._queue:
            raise Overloaded(
                f"{self._rows} rows wait for this model, and {self._queue} is the most that may; try again later.",
                self._runtime.seconds(self._size),
            )

    async def run(self, inputs: Mapping[str, Array], rows: int, call: Call) -> Outputs:
        """The outputs for these rows and no others. Raises ``Overloaded``, ``Expired``, or what the runtime raises."""
        self.admit(rows)
        loop = asyncio.get_running_loop()
        item = _Item(inputs, rows, call, loop.create_future())
        self._waiting.append(item)
        self._rows += rows
        self._size += item.size
        if not self._running:
            if self._rows >= self._max_batch:
                self._run_next()
            elif self._flush is None:
                # Not at once even without a window: requests that arrived together are to run together.
                wait = self._window
                self._flush = loop.call_later(wait, self._run_next) if wait else loop.call_soon(self._run_next)
        try:
            if self._running or self._window or not self._is_quick(self._size):
                return await call.wait(item.future)
            return await item.future
        finally:
            if item.future.cancelled() and item in self._waiting:  # its place is for others, at once
                self._waiting.remove(item)
                self._rows -= item.rows
                self._size -= item.size

    def _is_quick(self, size: int) -> bool:
        return self._executor is None or self._runtime.seconds(size) <= _QUICK

    def _run_next(self) -> None:
        """Run batches until none waits or enough have gone to threads."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        while self._waiting and self._running < _AHEAD:
            batch = self._take()
            if not batch:
                continue
            if not self._running and self._is_quick(sum(item.size for item in batch)):
                _settle(batch, self._compute(batch))
            else:
                self._running += 1
                assert self._executor is not None
                running = asyncio.get_running_loop().run_in_executor(self._executor, self._compute, batch)
                running.add_done_callback(functools.partial(self._finish, batch))

    def _finish(self, batch: list[_Item], done: "asyncio.Future[list[Outputs | Exception]]") -> None:
        self._running -= 1
        _settle(batch, done.result())
        self._run_next()

    def _take(self) -> list[_Item]:
        """The next items that somebody still waits for, as many as fit into one call."""
        batch: list[_Item] = []
        rows = 0
        now = time.monotonic()
        while self._waiting:
            item = self._waiting[0]
            alive = not item.future.done() and item.call.deadline > now
            if alive and batch and (rows + item.rows > self._max_batch or item.kind != batch[0].kind):
                break
            self._waiting.popleft()
            self._rows -= item.rows
            self._size -= item.size
            if alive:
                item.call.queued = now - item.arrived
                self._queue_seconds.observe(item.call.queued)
                batch.append(item)
                rows += item.rows
            elif not item.future.done():
                item.future.set_exception(Expired("The deadline of this request passed while it waited in the queue."))
        for item in batch:
            item.call.rows, item.call.batch = item.rows, rows
        if batch:
            self._batch_rows.observe(rows)
        return batch

    def _compute(self, batch: Sequence[_Item]) -> list[Outputs | Exception]:
        """Outputs or an error for every item: values that make the model fail must not hurt their neighbours."""
        try:
            if len(batch) == 1:
                return [self._in_pieces(batch[0])]
            inputs = {name: np.concatenate([item.inputs[name] for item in batch]) for name in batch[0].inputs}
            outputs = self._runtime.run(inputs)
            ends = np.cumsum([item.rows for item in batch])
            if any(len(array) != ends[-1] for array in outputs.values()):
                raise RuntimeError("the model gave another number of rows than it was sent")
            return [
                {name: array[end - item.rows : end] for name, array in outputs.items()}
                for item, end in zip(batch, ends.tolist(), strict=True)
            ]
        except Exception as error:
            return [error] if len(batch) == 1 else [self._compute([item])[0] for item in batch]

    def _in_pieces(self, item: _Item) -> Outputs:
        """One request; if it has more rows than a batch may, one batch after the other."""
        if item.rows <= self._max_batch or not self._together:
            return self._runtime.run(item.inputs)
        pieces = [
            self._runtime.run({name: array[start : start + self._max_batch] for name, array in item.inputs.items()})
            for start in range(0, item.rows, self._max_batch)
        ]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _settle(batch: Sequence[_Item], results: Sequence[Outputs | Exception]) -> None:
    for item, result in zip(batch, results, strict=True):
        if item.future.done():  # cancelled: its client is gone
            continue
        if isinstance(result, Exception):
            item.future.set_exception(result)
        else:
            item.future.set_result(result)
