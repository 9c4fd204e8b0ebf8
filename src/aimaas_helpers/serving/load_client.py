"""The client process of the load generator: it shares the machine with the server it measures, so it must be cheap.

Requests are bytes prepared beforehand; answers are parsed in C and leave two numbers each.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from collections import Counter, deque
from typing import Any, cast

import httptools
import msgspec

_PAUSE = 0.01  # seconds that a closed loop waits after a fault before it asks again


class Plan(msgspec.Struct, kw_only=True):
    """What to do; times in seconds."""

    address: tuple[str, int]
    requests: list[tuple[bytes, bytes | None]]  # each with the body of the right answer, if that is known
    connections: int
    schedule: bytes | None = None  # float64 times from the start of the warm-up; a closed loop has none
    seconds: float
    warm_up: float
    timeout: float


class Outcome(msgspec.Struct, kw_only=True):
    """What came back; the arrays are float64, in seconds."""

    codes: dict[int, int]
    faults: dict[str, int]
    starts: bytes
    latencies: bytes
    refusals: bytes
    answers: int
    mean_in_flight: float
    busy: float


class Client:
    """Issues requests as they fall due, keeps the connections, and writes down what comes back."""

    def __init__(self, plan: Plan, loop: asyncio.AbstractEventLoop) -> None:
        self.plan, self.loop = plan, loop
        self.codes: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()
        self.starts, self.latencies, self.refusals = array.array("d"), array.array("d"), array.array("d")
        self.answers = self.sent = self.in_flight = 0
        self.changed = time.perf_counter()  # when in_flight last did
        self.area = 0.0  # in_flight × measured seconds, up to then
        self.begin = self.changed + plan.warm_up
        self.end = self.begin + plan.seconds
        self.schedule = deque(self.changed + due for due in array.array("d", plan.schedule or b""))
        self.waiting: deque[float] = deque()  # when the requests fell due that have no connection yet
        self.idle: list[Connection] = []
        self.alive: set[Connection] = set()
        self.opening: set[asyncio.Task[None]] = set()

    async def run(self) -> Outcome:
        """Warm up, measure, and wait for the answers still missing."""
        if self.plan.schedule is None:
            for _ in range(self.plan.connections):
                self.issue(time.perf_counter())
        else:
            if hasattr(signal, "setitimer"):
                self.loop.add_signal_handler(signal.SIGALRM, self.issue_due)
            self.issue_due()
        await asyncio.sleep(self.begin - time.perf_counter())
        started, cpu = time.perf_counter(), time.process_time()
        await asyncio.sleep(self.end - time.perf_counter())
        busy = (time.process_time() - cpu) / (time.perf_counter() - started)
        while (missing := self.in_flight + len(self.schedule)) and time.perf_counter() < self.end + self.plan.timeout:
            await asyncio.sleep(0.01)
        if missing:
            self.flow(0)
            self.faults[f"There was no answer {self.plan.timeout:g} s after the end."] += missing
        return Outcome(
            codes=self.codes,
            faults=self.faults,
            starts=self.starts.tobytes(),
            latencies=self.latencies.tobytes(),
            refusals=self.refusals.tobytes(),
            answers=self.answers,
            mean_in_flight=self.area / self.plan.seconds,
            busy=busy,
        )

    def issue_due(self) -> None:
        """Open loop: issue what is due by now, and come back for the next."""
        while self.schedule and self.schedule[0] <= time.perf_counter():
            self.issue(self.schedule.popleft())
        if self.schedule:
            delay = max(self.schedule[0] - time.perf_counter(), 1e-6)
            if hasattr(signal, "setitimer"):  # an event loop's own timers count in milliseconds
                signal.setitimer(signal.ITIMER_REAL, delay)
            else:
                self.loop.call_later(delay, self.issue_due)

    def issue(self, due: float) -> None:
        """Send a request, or let it wait for a connection; its latency counts from ``due``."""
        self.flow(1)
        self.area += self.measured(due, self.changed)  # it was in flight since then
        if self.idle:
            self.idle.pop().send(due)
        else:
            self.waiting.append(due)
            self.open_more()

    def issue_again(self) -> None:
        """Closed loop: a request is done, here is the next."""
        if self.plan.schedule is None and (now := time.perf_counter()) < self.end:
            self.issue(now)

    def flow(self, change: int) -> None:
        """Add up how long how many requests were in flight; now there are ``change`` more."""
        now = time.perf_counter()
        self.area += self.in_flight * self.measured(self.changed, now)
        self.changed = now
        self.in_flight += change

    def measured(self, start: float, stop: float) -> float:
        """How many of the seconds from ``start`` to ``stop`` are in the measurement."""
        return max(0.0, min(stop, self.end) - max(start, self.begin))

    def answered(self, due: float, status: int, right: bool) -> None:
        self.flow(-1)
        success = 200 <= status < 300
        if success and right and self.begin <= self.changed < self.end:
            self.answers += 1
        if due < self.begin:
            return
        if not right:
            self.faults["The answer was not the expected one."] += 1
            return
        self.codes[status] += 1
        if success:
            self.starts.append(due - self.begin)
            self.latencies.append(self.changed - due)
        else:
            self.refusals.append(self.changed - due)

    def failed(self, due: float, why: str) -> None:
        self.flow(-1)
        if due >= self.begin:
            self.faults[why] += 1
        self.loop.call_later(_PAUSE, self.issue_again)

    def open_more(self) -> None:
        """Open a connection for each request that waits for one, as far as the limit allows."""
        while len(self.opening) < len(self.waiting) and len(self.opening) + len(self.alive) < self.plan.connections:
            task = self.loop.create_task(self.open())
            self.opening.add(task)
            task.add_done_callback(self.opened)

    async def open(self) -> None:
        try:
            await self.loop.create_connection(lambda: Connection(self), *self.plan.address)
        except OSError as error:
            refused = isinstance(error, ConnectionRefusedError)
            why = "The server refused the connection." if refused else f"No connection could be opened: {error}."
            if self.waiting:
                self.failed(self.waiting.popleft(), why)

    def opened(self, task: asyncio.Task[None]) -> None:
        self.opening.discard(task)
        self.open_more()

    def ready(self, connection: Connection) -> None:
        """``connection`` can take a request."""
        if self.waiting:
            connection.send(self.waiting.popleft())
        else:
            self.idle.append(connection)

    def gone(self, connection: Connection) -> None:
        """``connection`` takes no more requests."""
        self.alive.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        self.open_more()


class Connection(asyncio.Protocol):
    """One request at a time over one connection, kept open as long as the server likes."""

    transport: asyncio.Transport

    def __init__(self, client: Client) -> None:
        self.client = client
        self.parser = httptools.HttpResponseParser(self)
        self.due: float | None = None  # when the request fell due that has no answer yet
        self.expected: bytes | None = None
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # which sets TCP_NODELAY
        self.client.alive.add(self)
        self.client.ready(self)

    def send(self, due: float) -> None:
        client = self.client
        content, self.expected = client.plan.requests[client.sent % len(client.plan.requests)]
        client.sent += 1
        self.due = due
        self.transport.write(content)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserCallbackError:  # not the server's fault, but of this file
            raise
        except httptools.HttpParserError:
            self.fail("The answer was not HTTP.")
            self.transport.abort()

    def on_body(self, part: bytes) -> None:
        if self.expected is not None:
            self.body += part

    def on_message_complete(self) -> None:
        client, due, self.due = self.client, self.due, None
        if due is None:
            self.transport.abort()  # an answer that nobody asked for
            return
        client.answered(due, self.parser.get_status_code(), self.expected is None or self.body == self.expected)
        self.body = b""
        if self.parser.should_keep_alive():
            client.ready(self)
        else:
            self.transport.close()
            client.gone(self)
        client.issue_again()

    def connection_lost(self, error: Exception | None) -> None:
        self.fail("The server closed the connection before its answer was complete.")
        self.client.gone(self)

    def fail(self, why: str) -> None:
        due, self.due = self.due, None
        if due is not None:
            self.client.failed(due, why)


def main() -> None:
    """Read a ``Plan`` from standard input, carry it out, and write its ``Outcome`` to standard output."""
    plan = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Plan)
    with contextlib.suppress(ImportError, OSError, ValueError):  # a socket for each connection, if the system lets us
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, plan.connections + 64), hard))
    gc.disable()  # a collection would be measured as latency of the server
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.get_loop().set_exception_handler(_give_up)
        outcome = runner.run(Client(plan, runner.get_loop()).run())
    with open(sys.stdout.fileno(), "wb", closefd=False) as output:  # with PYTHONUNBUFFERED, stdout may write but a part
        output.write(msgspec.msgpack.encode(outcome))


def _give_up(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An error that no one expected must not turn into a result."""
    loop.default_exception_handler(context)
    sys.stderr.flush()
    os._exit(1)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


if __name__ == "__main__":
    main()
