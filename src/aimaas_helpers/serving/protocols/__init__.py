"""Each protocol is a translation between HTTP and the data plane, and nothing else.

Here stand the parts of a path that they share: ``{name:model}`` and ``{version:version}``.
"""

from starlette.convertors import Convertor, register_url_convertor


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
