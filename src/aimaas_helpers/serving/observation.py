"""What is known of every request: an id and a deadline when it comes, numbers and a line of log when it is answered."""

import asyncio
import atexit
import itertools
import logging
import re
import secrets
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aimaas_helpers.errors import AimaasError, BadInput
from aimaas_helpers.serving import metrics
from aimaas_helpers.serving.call import Call, Disconnected
from aimaas_helpers.serving.refusal import error_response

_GONE = 499  # what nginx logs when the client did not wait for its answer
_LONGEST_PATH = 256
_TIMEOUT = b"x-request-timeout"
_FAULT = "The server failed to answer; the reason is in its log."

_logger = logging.getLogger(__name__)
_prefix = secrets.token_hex(4)
_numbers = itertools.count(1)


class AccessLog:
    """Lines of JSON on standard output, written together: a system call for each would cost more than the request."""

    def __init__(self, delay: float = 0.1) -> None:
        self._delay = delay  # seconds that a line waits for others
        self._lines: list[bytes] = []
        atexit.register(self.flush)

    def write(self, entry: Mapping[str, object]) -> None:
        """Add a line; needs a running event loop."""
        if not self._lines:
            asyncio.get_running_loop().call_later(self._delay, self.flush)
        self._lines.append(msgspec.json.encode(entry))

    def flush(self) -> None:
        """Write what waits, as a whole: other processes may write to the same place."""
        lines, self._lines = self._lines, []
        if lines:
            sys.stdout.write(b"\n".join([*lines, b""]).decode())
            sys.stdout.flush()


class Observation:
    """Makes the request's ``Call``, answers errors that nothing inside answered, counts and logs.

    ``deadline`` is in seconds; the header ``X-Request-Timeout: SECONDS`` shortens it. ``X-Request-Id`` names a request,
    which otherwise is given a name; the answer carries it, and ``X-Model-Version`` if a model was asked.
    """

    def __init__(self, app: ASGIApp, deadline: float, log: AccessLog | None = None) -> None:
        self.app = app
        self.deadline = deadline
        self.log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        exchange = _Exchange(scope, receive, send)
        call = exchange.call = scope["call"] = Call(exchange.receive, id=_id(headers), seconds=self.deadline)
        if scope.get("client"):
            call.client = scope["client"][0]
        metrics.IN_PROGRESS.inc()
        try:
            if _TIMEOUT in headers:
                call.allow(_seconds(headers[_TIMEOUT]))
            await self.app(scope, exchange.receive, exchange.send)
        except (ClientDisconnect, Disconnected):
            exchange.gone = True
        except Exception as error:
            known = error if isinstance(error, AimaasError) else AimaasError(_FAULT)
            if known is not error or exchange.status:  # the client is not told
                _logger.exception("Request %s failed.", call.id)
            await exchange.fail(known)
        finally:
            metrics.IN_PROGRESS.dec()
            self._record(exchange)
            call.receive = None  # a cycle, which would wait for the garbage collector

    def _record(self, exchange: "_Exchange") -> None:
        call = exchange.call
        code = _GONE if exchange.gone else exchange.status or 500
        seconds = time.monotonic() - call.started
        # Only models that exist get this far: labels that clients can make up would fill the memory.
        name, version = (call.model.name, str(call.model.version)) if call.model else ("", "")
        metrics.requests(name, version, call.protocol, code).inc()
        metrics.request_seconds(name, version, call.protocol).observe(seconds)
        if self.log is not None:
            self.log.write(
                {
                    "time": datetime.now(UTC),
                    "id": call.id,
                    "client": call.client,
                    "method": exchange.scope["method"],
                    "path": exchange.scope["path"][:_LONGEST_PATH],
                    "code": code,
                    "seconds": round(seconds, 6),
                    "protocol": call.protocol,
                    "model": name,
                    "version": version,
                    "sha256": call.model.card.sha256[:12] if call.model else "",
                    "rows": call.rows,
                    "queued": round(call.queued, 6),
                    "batch": call.batch,
                }
            )


class _Exchange:
    """A request and its answer as they pass."""

    __slots__ = ("_receive", "_send", "call", "complete", "gone", "scope", "status")

    call: Call

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self.status = 0  # until an answer begins
        self.complete = False
        self.gone = False  # the client, before its answer was complete

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self.complete:
            self.gone = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.call.id.encode())]
            if self.call.model is not None:
                message["headers"].append((b"x-model-version", b"%d" % self.call.model.version))
            await self._send(message)
        else:
            await self._send(message)
            self.complete = not message.get("more_body", False)

    async def fail(self, error: AimaasError) -> None:
        """Answer with the error, if no answer has begun; one that has breaks off here, and counts as failed."""
        if self.status:
            self.status = error.status
        else:
            await error_response(self.scope["path"], error)(self.scope, self.receive, self.send)


def _id(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id")
    return given.decode() if given and re.fullmatch(rb"[ -~]{1,128}", given) else f"{_prefix}-{next(_numbers)}"


def _seconds(header: bytes) -> float:
    try:
        return float(header)
    except ValueError:
        text = header[:80].decode("latin-1")
        raise BadInput(f"The header X-Request-Timeout is a number of seconds, not {text!r}.") from None
