"""Plain ASGI middleware: what holds for every request, whatever its protocol."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aimaas_helpers.errors import TooLarge


class BodyLimit:
    """Refuses bodies of more than ``max_bytes``, of announced length or not, by raising ``TooLarge`` in ``receive``.

    Never more than the limit is kept; uvicorn reads and drops what the client still sends, so that it sees the answer.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise TooLarge(
                    f"The body of this request is larger than {self.max_bytes / 2**20:g} MiB, "
                    "the most this server accepts; send fewer rows at a time."
                )
            return message

        await self.app(scope, limited, send)
