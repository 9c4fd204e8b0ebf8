"""One request on its way through the server."""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeVar

from aimaas_helpers.errors import BadInput, Expired

if TYPE_CHECKING:
    from aimaas_helpers.serving.repository import Model

Result = TypeVar("Result")
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Disconnected(Exception):
    """The client went away before it had its answer."""


class Call:
    """What the log and the metrics say of a request, and when it must be answered.

    Middleware makes one for each request (``scope["call"]``), the protocol fills in ``protocol`` and ``model``, the
    batcher ``rows``, ``queued`` (seconds) and ``batch`` (rows run together). All clocks are monotonic.
    """

    __slots__ = ("batch", "client", "deadline", "id", "model", "protocol", "queued", "receive", "rows", "started")

    def __init__(self, receive: Receive | None = None, *, id: str = "", seconds: float = 30.0) -> None:
        self.id = id
        self.client = ""
        self.protocol = ""
        self.model: Model | None = None
        self.receive = receive
        self.started = time.monotonic()
        self.deadline = self.started + seconds
        self.rows = 0
        self.batch = 0
        self.queued = 0.0

    def allow(self, seconds: float) -> None:
        """Answer within this many seconds of now, if that is sooner than the deadline. Raises ``BadInput``."""
        if not seconds > 0:
            raise BadInput(f"The time that a request may take is a number of seconds above 0, not {seconds:g}.")
        self.deadline = min(self.deadline, time.monotonic() + seconds)

    async def wait(self, future: "asyncio.Future[Result]") -> Result:
        """The future's result; it is cancelled, so that nobody computes it, when nobody waits for it any more.

        Raises ``Expired`` at the deadline and ``Disconnected`` as soon as the client goes away.
        """
        waiting: set[asyncio.Future[Any]] = {future}
        if self.receive is not None:
            waiting.add(asyncio.ensure_future(self._until_gone(self.receive)))
        try:
            await asyncio.wait(waiting, timeout=self.deadline - time.monotonic(), return_when=asyncio.FIRST_COMPLETED)
            if future.done():
                return future.result()
            if any(item.done() for item in waiting):
                raise Disconnected
            raise Expired("The answer was not ready by the deadline of this request: send fewer rows or allow more.")
        finally:
            for item in waiting:
                item.cancel()

    @staticmethod
    async def _until_gone(receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
