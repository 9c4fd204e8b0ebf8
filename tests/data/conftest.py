"""A package index in a folder, with one small package in it that the tests fetch with the real pip."""

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from aimaas_helpers.data.catalogue import CATALOGUE
from aimaas_helpers.data.entry import Entry, Full, Sample

MEMBER = "toy_data/numbers.txt"
CONTENT = b"1 2 3 4\n" * 500


def wheel(members: dict[str, bytes]) -> bytes:
    """The bytes of a wheel that pip accepts: toy-data 1.0 with ``members``."""
    metadata = {
        "toy_data-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: toy-data\nVersion: 1.0\n",
        "toy_data-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "toy_data-1.0.dist-info/RECORD": b"",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (members | metadata).items():
            archive.writestr(name, content)
    return buffer.getvalue()


def source_archive(members: dict[str, bytes]) -> bytes:
    """The bytes of a source archive of toy-data 1.0, which pip asks setuptools about."""
    members = members | {
        "pyproject.toml": b'[project]\nname = "toy-data"\nversion = "1.0"\n[tool.setuptools]\npackages = []\n',
        "PKG-INFO": b"Metadata-Version: 2.1\nName: toy-data\nVersion: 1.0\n",
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"toy_data-1.0/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@dataclass
class Toy:
    """The package index, the cache, and the catalogue's entry "toy" that describes what is in them."""

    index: Path
    cache: Path
    change: Callable[..., Sample]
    member: str = MEMBER
    content: bytes = CONTENT
    wheel = staticmethod(wheel)
    source_archive = staticmethod(source_archive)

    @property
    def entry(self) -> Entry:
        return CATALOGUE["toy"]

    @property
    def file(self) -> Path:
        """Where the fetched file belongs."""
        return self.cache / "toy" / "numbers.txt"

    def publish(self, package: bytes, name: str = "toy_data-1.0-py3-none-any.whl") -> None:
        """Put the package into the index, and its name, size and hash into the catalogue."""
        (self.index / name).write_bytes(package)
        self.change(file=name, size=len(package), sha256=sha256(package).hexdigest())


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    sample = Sample(
        package="toy-data",
        version="1.0",
        file="",
        sha256="",
        size=0,
        member=MEMBER,
        member_sha256=sha256(CONTENT).hexdigest(),
        member_size=len(CONTENT),
        examples=500,
    )
    full = Full(loader="none", files=(), train=0, validation=0, test=0)
    entry = Entry(
        name="toy",
        title="Toy data",
        noun="rows",
        example="four numbers",
        classes=("a",),
        licence="CC0",
        citation="Nobody",
        home="",
        full=full,
        sample=sample,
    )

    def change(**fields: Any) -> Sample:
        old = CATALOGUE["toy"].sample
        assert old is not None
        new = replace(old, **fields)
        monkeypatch.setitem(CATALOGUE, "toy", replace(entry, sample=new))
        return new

    monkeypatch.setitem(CATALOGUE, "toy", entry)
    index, cache = tmp_path / "an index", tmp_path / "a cache"
    index.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", index.as_uri())
    monkeypatch.setenv("AIMAAS_CACHE", str(cache))
    toy = Toy(index, cache, change)
    toy.publish(wheel({MEMBER: CONTENT}))
    return toy
