"""What a client may ask of the server: who, how often, how much at once, how large and how slowly.

Each limit raises the error that says so; ``Observation``, which is around them all, makes it an answer. Probes and
Prometheus are never refused. Every worker process counts for itself.
"""

import asyncio
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aimaas_helpers.errors import BadInput, Overloaded, TooLarge, TooMany, TooSlow, Unauthorized

_SHORTEST_KEY = 16
_CLIENTS = 100_000  # whose rates are remembered at most


def _is_limited(scope: Scope) -> bool:
    path: str = scope.get("path", "")
    return scope["type"] == "http" and path != "/metrics" and not path.startswith("/v2/health/")


class Concurrency:
    """At most ``most`` requests in progress, an answer that is still being streamed among them; else ``Overloaded``."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app = app
        self.most = most
        self.running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _is_limited(scope):
            await self.app(scope, receive, send)
            return
        if self.running >= self.most:
            raise Overloaded(f"{self.most} requests are in progress, the most that may be at once; try again later.")
        self.running += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.running -= 1


class Keys:
    """Lets in whoever sends one of the keys, and names the client after it; else ``Unauthorized``.

    ``keys`` maps names to digests, as ``read_keys`` does.
    """

    def __init__(self, app: ASGIApp, keys: Mapping[str, bytes]) -> None:
        self.app = app
        self.keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_limited(scope):
            scope["call"].client = self._name(dict(scope["headers"]))
        await self.app(scope, receive, send)

    def _name(self, headers: Mapping[bytes, bytes]) -> str:
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer":
            key = headers.get(b"x-api-key", b"")
        digest = _digest(key.strip())
        found = ""
        for name, known in self.keys.items():  # all of them: the time it takes must not tell which one is nearly right
            if hmac.compare_digest(digest, known):
                found = name
        if not found:
            sent = "is not one that this server knows" if key else "is missing"
            raise Unauthorized(f"The API key of this request {sent}; send the header 'Authorization: Bearer KEY'.")
        return found


def read_keys(path: str) -> dict[str, bytes]:
    """The digests of the keys in a file, by name: a line each, ``NAME KEY``; blank lines and # comments are skipped.

    Raises ``BadInput``, in words that never hold a key.
    """
    try:
        lines = Path(path).read_text("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise BadInput(f"The file of API keys, {path}, cannot be read: {reason}.") from error
    keys: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if not parts or line.lstrip().startswith("#"):
            continue
        if len(parts) != 2:
            raise BadInput(f"Line {number} of {path} has {len(parts)} words; expected two, NAME KEY.")
        name, key = parts[0], parts[1].encode()
        if len(key) < _SHORTEST_KEY:
            raise BadInput(f"The key in line {number} of {path} is shorter than {_SHORTEST_KEY} characters.")
        if name in keys or _digest(key) in keys.values():
            raise BadInput(f"Line {number} of {path} repeats {'the name' if name in keys else 'the key'} of another.")
        keys[name] = _digest(key)
    if not keys:
        raise BadInput(f"The file of API keys, {path}, holds none; expected lines of NAME KEY.")
    return keys


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()  # all equally long, and not the key


class Rate:
    """``rate`` requests a second for each client and ``burst`` at once after silence; else ``TooMany``.

    A token bucket for each client: ``burst`` tokens, one of which every request takes, refilled at ``rate``. All there
    is to know of a bucket is when it will be full again; a full one is as good as none, and so is forgotten.
    """

    def __init__(self, app: ASGIApp, rate: float, burst: int) -> None:
        self.app = app
        self.seconds = 1 / rate
        self.most = burst / rate
        self.full: OrderedDict[str, float] = OrderedDict()  # monotonic time by client, the last to ask last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_limited(scope):
            self._take(scope["call"].client)
        await self.app(scope, receive, send)

    def _take(self, client: str) -> None:
        now = time.monotonic()
        while self.full and (len(self.full) > _CLIENTS or next(iter(self.full.values())) <= now):
            self.full.popitem(last=False)
        full = max(self.full.get(client, now), now) + self.seconds
        wait = full - now - self.most
        if wait > 1e-6:  # sums of seconds are not exact
            raise TooMany(f"This client may send {1 / self.seconds:g} requests a second; wait, then send again.", wait)
        self.full[client] = full
        self.full.move_to_end(client)


class BodyLimit:
    """Refuses bodies of more than ``max_bytes`` (``TooLarge``) or not there after ``seconds`` (``TooSlow``).

    Of a body without announced length never more than the limit is kept; uvicorn reads and drops what the client still
    sends, so that it sees the answer.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            announced = dict(scope["headers"]).get(b"content-length", b"")
            if announced.isdigit():
                self._check(int(announced))
            receive = self._limited(receive)
        await self.app(scope, receive, send)

    def _limited(self, receive: Receive) -> Receive:
        received = 0
        end = 0.0  # of the loop's clock, once the body was asked for
        arriving = True  # afterwards receive waits for the client to go away, and may do so for long

        async def limited() -> Message:
            nonlocal received, end, arriving
            if not arriving:
                return await receive()
            end = end or asyncio.get_running_loop().time() + self.seconds
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError:
                raise TooSlow(
                    f"The body of this request did not arrive within {self.seconds:g} seconds; "
                    "send fewer rows at a time, or use a faster connection."
                ) from None
            received += len(message.get("body", b""))
            self._check(received)
            arriving = message.get("more_body", False)
            return message

        return limited

    def _check(self, size: int) -> None:
        if size > self.max_bytes:
            raise TooLarge(
                f"The body of this request is larger than {self.max_bytes / 2**20:g} MiB, "
                "the most this server accepts; send fewer rows at a time."
            )
