"""What can be set about a server: one field here is one option of ``aimaas serve`` and one argument of ``local``."""

import os
from dataclasses import dataclass, field, fields
from typing import Any

from aimaas_helpers.errors import BadInput

LARGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""The environment in which a server begins: with glibc, the C library of most Linux systems, its memory then comes in
pages of 2 MB instead of 4 kB, and a large model's weights are read from it a fifth faster. Others ignore it."""

_WANTED = {int: "a whole number", float: "a number", bool: "yes or no", str: "a text"}


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Raises ``BadInput`` if a value cannot be: the message names the field and what it may hold."""

    workers: int = _option(1, "processes that share the port")
    threads: int = _option(1, "cores that one call of a model may use")
    max_batch: int = _option(64, "most rows in one call of a model; fewer where a batch does not pay")
    window: float = _option(0.0, "seconds that the first row of a batch waits for others")
    max_rows: int = _option(4096, "most rows in one request")
    queue: int = _option(256, "most rows that wait for a model; beyond, requests are refused")
    slots: int = _option(8, "texts that a language model writes at once")
    context: int = _option(2048, "tokens of prompt and answer together that a language model holds in mind")
    deadline: float = _option(30.0, "seconds in which a request is answered, unless it asks for fewer")
    concurrency: int = _option(256, "most requests in progress; beyond, they are refused")
    max_body: int = _option(16 * 2**20, "most bytes in the body of a request")
    body_timeout: float = _option(10.0, "seconds in which a body must arrive")
    keys: str = _option("", "file of API keys, a line each: NAME KEY")
    rate: float = _option(0.0, "requests a second that each client may send; 0 is no limit")
    burst: int = _option(20, "requests that a client may send at once when it has been silent")
    public_key: str = _option("", "PEM file: only versions signed with its private key are served")
    poll: float = _option(2.0, "seconds between looks for new versions; 0 leaves it to explicit requests")
    drain: float = _option(0.0, "seconds between SIGTERM, when the server says that it is not ready, and closing")
    grace: float = _option(30.0, "seconds in which requests in progress may end when the server stops")
    access_log: bool = _option(True, "one line of JSON for every request")

    def __post_init__(self) -> None:
        for option in fields(self):
            value, kind = getattr(self, option.name), type(option.default)
            if kind is str and isinstance(value, os.PathLike):
                object.__setattr__(self, option.name, value := os.fspath(value))
            fits = isinstance(value, int | float if kind is float else kind) and isinstance(value, bool) == (
                kind is bool
            )
            if not fits or value == float("inf"):
                raise BadInput(f"The setting '{option.name}' is {_WANTED[kind]}, not {value!r}.")
            least = 1 if kind is int else 0
            if kind in (int, float) and not value >= least:
                raise BadInput(f"The setting '{option.name}' is at least {least}, not {value}.")
        if self.workers > 1 and not self.poll:
            raise BadInput("Several workers find new versions by polling: set 'poll' above 0, or 'workers' to 1.")

    @classmethod
    def from_environment(cls, **given: Any) -> "Settings":
        """Settings from ``given``, then from ``AIMAAS_<FIELD>`` variables, then the defaults."""
        values = {}
        known = [option.name for option in fields(cls)]
        for name in given.keys() - set(known):
            raise BadInput(f"There is no setting '{name}'; there are {', '.join(known)}.")
        for option in fields(cls):
            text = os.environ.get(f"AIMAAS_{option.name.upper()}")
            if given.get(option.name) is not None:
                values[option.name] = given[option.name]
            elif text is not None:
                values[option.name] = parse(option.name, text)
        return cls(**values)


def parse(name: str, text: str) -> Any:
    """The value that ``text`` spells for the field ``name``. Raises ``BadInput``."""
    kind = type(getattr(Settings, name))
    if kind is bool and text.lower() in ("1", "true", "yes", "on", "0", "false", "no", "off"):
        return text.lower() in ("1", "true", "yes", "on")
    try:
        return kind(text) if kind is not bool else int("no number")
    except ValueError:
        raise BadInput(f"The setting '{name}' is {_WANTED[kind]}, not {text!r}.") from None
