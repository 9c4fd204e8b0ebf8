"""Load a data set as arrays, split into train, validation and test, and say what was loaded."""

import gzip
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import Corrupt, Unavailable
from .catalogue import Entry, Full, find
from .fetch import fetch, matches, read

SEED = 2026


class Split(NamedTuple):
    """Examples and their labels.

    ``x`` is float32 in [0, 1] of shape (n, 28, 28); ``y`` is int64 of shape (n,).
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A data set in three parts that share no example, each with the classes in the same proportion."""

    name: str
    title: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    licence: str
    citation: str
    source: str

    def __repr__(self) -> str:
        sizes = f"{len(self.train.y)} train, {len(self.validation.y)} validation, {len(self.test.y)} test"
        return f"<Dataset {self.name}: {sizes}, {len(self.classes)} classes>"


def load(name: str, *, full: bool = False, quiet: bool = False) -> Dataset:
    """Load the data set ``name``: its offline sample, or with ``full=True`` the whole of it through Keras's loader.

    The sample is fetched if it is not in the cache, and its SHA-256 is checked at every load. The split is the
    same on every machine. What was loaded is printed, unless ``quiet``.

    Raises:
        NotFound: there is no such data set.
        BadInput: it has no offline sample, and ``full`` was not asked for.
        Unavailable: it is not on this machine and cannot be fetched.
        Corrupt, Unwritable: as ``fetch``; Corrupt also for a damaged file in Keras's own cache.
    """
    entry = find(name)
    dataset = _load_full(entry) if full else _load_sample(entry)
    if not quiet:
        sizes = [len(part.y) for part in (dataset.train, dataset.validation, dataset.test)]
        whole = entry.full.train + entry.full.test
        part = f"all {whole:,}" if full else f"an offline sample of {sum(sizes):,} of the {whole:,}"
        print(
            f"{entry.title}: {part} images, {' × '.join(map(str, entry.shape))} pixels, {len(entry.classes)} classes; "
            f"{sizes[0]:,} to train, {sizes[1]:,} to validate, {sizes[2]:,} to test. Licence: {entry.licence}."
        )
    return dataset


def stratified(y: NDArray[Any], size: int, random: np.random.RandomState) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Part the indices of ``y`` into ``(rest, chosen)``: ``size`` chosen at random, from all classes in proportion.

    Each class gives its exact share, rounded up or down. Both parts are in random order.
    """
    shuffled = random.permutation(len(y))
    by_class = shuffled[np.argsort(y[shuffled], kind="stable")]
    picked = np.zeros(len(y), dtype=bool)
    picked[np.arange(size) * len(y) // max(size, 1)] = True  # evenly spaced, so each class gives its share
    return random.permutation(by_class[~picked]), random.permutation(by_class[picked])


def _load_sample(entry: Entry) -> Dataset:
    content = read(entry.name)
    if content is None:
        fetch(entry.name)
        content = read(entry.name)
    sample = entry.sample
    if content is None or sample is None:
        raise Corrupt(f"The cached file of {entry.name!r} was changed while it was being loaded.")
    x, y = _READERS[entry.name](content)
    rest, test = stratified(y, len(y) // 10, _random())
    train, validation = stratified(y[rest], len(y) // 10, _random())
    return _dataset(
        entry,
        train=_split(x[rest[train]], y[rest[train]]),
        validation=_split(x[rest[validation]], y[rest[validation]]),
        test=_split(x[test], y[test]),
        source=f"{sample.member} in {sample.package} {sample.version}",
    )


def _load_full(entry: Entry) -> Dataset:
    (x, y), (x_test, y_test) = _from_keras(entry, entry.full)
    train, validation = stratified(y, entry.full.validation, _random())
    return _dataset(
        entry,
        train=_split(x[train], y[train]),
        validation=_split(x[validation], y[validation]),
        test=_split(x_test, y_test),
        source=f"keras.datasets.{entry.full.loader}",
    )


def _from_keras(entry: Entry, full: Full) -> Any:
    folder = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"
    files = [folder / file for file in full.files]
    absent = [file for file in files if not file.exists()]
    damaged = f"Move {' and '.join(map(str, files))} away and load {entry.name!r} again, online."
    # Keras deletes a file with a wrong hash before it asks for another, even offline: look first.
    if full.sha256 and not absent and not matches(files[0].read_bytes(), full.sha256):
        raise Corrupt(f"{files[0]} is not the {entry.title} that Keras publishes. {damaged}")

    import keras  # only here: the offline samples do without it

    try:
        with _network_timeout(20):
            loaded = getattr(keras.datasets, full.loader).load_data()
    except Exception as error:
        if not absent:
            raise Corrupt(f"{entry.title} in {files[0].parent} cannot be read ({error}). {damaged}") from error
        hint = f", {full.hint}" if full.hint else ""
        raise Unavailable(
            f"The whole of {entry.title} is not on this machine, and Keras could not fetch it ({error}): "
            f"load it once while online{hint}."
        ) from error
    shapes = [loaded[0][0].shape, loaded[1][0].shape]
    if shapes != [(full.train, *entry.shape), (full.test, *entry.shape)]:
        raise Corrupt(f"{entry.title} in {files[0].parent} has the shapes {shapes}. {damaged}")
    return loaded


@contextmanager
def _network_timeout(seconds: float) -> Iterator[None]:
    # Keras sets none: behind a firewall that drops packets its loader would wait for minutes.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _digits(content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    table = np.loadtxt(gzip.decompress(content).splitlines(), delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1]


_READERS = {"digits": _digits}


def _random() -> np.random.RandomState:
    return np.random.RandomState(SEED)  # not default_rng: this stream is the same in every version of NumPy


def _split(x: NDArray[np.uint8], y: NDArray[Any]) -> Split:
    return Split(x.astype(np.float32) / np.float32(255), y.astype(np.int64))


def _dataset(entry: Entry, *, train: Split, validation: Split, test: Split, source: str) -> Dataset:
    return Dataset(
        name=entry.name,
        title=entry.title,
        train=train,
        validation=validation,
        test=test,
        classes=entry.classes,
        licence=entry.licence,
        citation=entry.citation,
        source=source,
    )
