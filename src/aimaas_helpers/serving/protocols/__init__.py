"""Each protocol is a translation between HTTP and the data plane, and nothing else.

Here stand the parts of a path that they share: ``{name:model}`` and ``{version:version}``.
"""

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import ClientDisconnect, Request


async def read(request: Request) -> bytes:
    """The body. Most arrive in one piece, which Starlette's ``body`` takes three times as long to hand on.

    Raises ``ClientDisconnect``.
    """
    pieces = []
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class _NameConvertor(Convertor[str]):
    """A model's name in a path: it ends where the verb begins, at the colon."""

    regex = "[^/:]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _VersionConvertor(Convertor[int]):
    regex = "[0-9]{1,18}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("model", _NameConvertor())
register_url_convertor("version", _VersionConvertor())
