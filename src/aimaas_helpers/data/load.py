"""Load a data set as arrays, split into train, validation and test, and say what was loaded."""

import gzip
import io
import os
import re
import socket
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput, Corrupt, Unavailable
from . import speech
from .catalogue import find
from .entry import Entry, Full
from .fetch import contents, matches

SEED = 2026


class Split(NamedTuple):
    """Examples and their labels, both of length n.

    ``x`` is, for images, float32 in [0, 1] of shape (n, 28, 28); for texts, an array of n ``str``; for speech, an
    array of n waveforms of different lengths, each float32 in [-1, 1]. ``y`` is int64, the number of the class; for
    texts without classes, an array of n titles.
    """

    x: NDArray[Any]
    y: NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A data set in three parts that share no example, each with the classes, if any, in the same proportion.

    Where the examples have voices, the parts share none; ``voices`` names them, example by example, for each part:
    ``"train"``, ``"validation"``, ``"test"`` and ``"unlike"``. ``unlike`` are more examples to test on, by voices
    of kinds that the three parts do not have.
    """

    name: str
    title: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    licence: str
    citation: str
    source: str
    unlike: Split | None = None
    voices: dict[str, NDArray[np.str_]] = field(default_factory=dict)

    def __repr__(self) -> str:
        sizes = f"{len(self.train.y)} train, {len(self.validation.y)} validation, {len(self.test.y)} test"
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"<Dataset {self.name}: {sizes}{classes}>"


def load(name: str, *, full: bool = False, quiet: bool = False) -> Dataset:
    """Load the data set ``name``: its offline sample, or with ``full=True`` the whole of it through Keras's loader.

    The sample is fetched if it is not in the cache, and its SHA-256 is checked at every load. The split is the
    same on every machine. What was loaded is printed, unless ``quiet``.

    Raises:
        NotFound: there is no such data set.
        BadInput: it has no offline sample, and ``full`` was not asked for; or it is no set of examples but a table
            (see ``table``) or a file (see ``fetch``).
        Unavailable: it is not on this machine and cannot be fetched.
        Corrupt, Unwritable: as ``fetch``; Corrupt also for a damaged file in Keras's own cache.
    """
    entry = find(name)
    if entry.kind != "examples":
        raise BadInput(
            f"{entry.title}: this is a {entry.kind}, without parts to train and to test on; use {entry.call}."
        )
    dataset = _load_full(entry) if full else _load_sample(entry)
    if not quiet:
        print(_said(entry, dataset))
    return dataset


def _said(entry: Entry, dataset: Dataset) -> str:
    sizes = [len(part.y) for part in (dataset.train, dataset.validation, dataset.test)]
    total = f"{sum(sizes):,}"
    if entry.full:
        whole = f"{entry.full.train + entry.full.test:,}"
        total = f"all {whole}" if total == whole else f"an offline sample of {total} of the {whole}"
    what = f"{total} {entry.noun}"
    if entry.shape:
        what += f", {' × '.join(map(str, entry.shape))} pixels"
    if entry.classes:
        what += f", {len(entry.classes)} classes"
    parts = f"{sizes[0]:,} to train, {sizes[1]:,} to validate, {sizes[2]:,} to test"
    if dataset.unlike:
        parts += f", and {len(dataset.unlike.y):,} by unlike voices"
    return f"{entry.title}: {what}; {parts}. Licence: {entry.licence}."


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
    content = contents(entry.name)
    if entry.name == "spoken_digits":
        return _by_voice(entry, speech.clips(content))
    x, y = _READERS[entry.name](content)
    of = y if entry.classes else np.zeros(len(y))
    rest, test = stratified(of, len(y) // 10, _random())
    train, validation = stratified(of[rest], len(y) // 10, _random())
    return _dataset(
        entry,
        train=Split(x[rest[train]], y[rest[train]]),
        validation=Split(x[rest[validation]], y[rest[validation]]),
        test=Split(x[test], y[test]),
        source=_source(entry),
    )


def _by_voice(entry: Entry, clips: speech.Clips) -> Dataset:
    """One voice in ten to validate with and one in ten to test with, all of its clips."""
    voices = _random().permutation(np.unique(clips.voice[~clips.unlike]))
    tenth = len(voices) // 10
    chosen = {
        "train": np.isin(clips.voice, voices[2 * tenth :]),
        "validation": np.isin(clips.voice, voices[tenth : 2 * tenth]),
        "test": np.isin(clips.voice, voices[:tenth]),
        "unlike": clips.unlike,
    }
    indices = {part: _random().permutation(np.flatnonzero(which)) for part, which in chosen.items()}
    parts = {part: Split(clips.x[index], clips.y[index]) for part, index in indices.items()}
    return _dataset(
        entry,
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        unlike=parts["unlike"],
        voices={part: clips.voice[index] for part, index in indices.items()},
        source=_source(entry),
    )


def _load_full(entry: Entry) -> Dataset:
    if entry.full is None:
        raise BadInput(f"{entry.title}: the offline sample is all there is; load it without full=True.")
    (x, y), (x_test, y_test) = _from_keras(entry, entry.full)
    train, validation = stratified(y, entry.full.validation, _random())
    return _dataset(
        entry,
        train=_grey(x[train], y[train]),
        validation=_grey(x[validation], y[validation]),
        test=_grey(x_test, y_test),
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


def _digits(content: bytes) -> Split:
    table = np.loadtxt(gzip.decompress(content).splitlines(), delimiter=",", dtype=np.uint8)
    return _grey(table[:, :-1].reshape(-1, 28, 28), table[:, -1])


def _shakespeare(content: bytes) -> Split:
    # One file lacks its title: "Measure for Measure" follows "All's Well That Ends Well", and begins with a first act.
    whole = re.sub(r"(?<!\n)\n(?=## ACT I\n)", "\n# Measure for Measure\n", content.decode())
    plays = re.split(r"^# (.*[a-z].*)\n", whole, flags=re.MULTILINE)[1:]  # title, text, title, text, …
    texts = []
    for play in plays[1::2]:
        text = re.sub(r"^\*\*(.+?)\*\*\s*$", r"\1:", play, flags=re.MULTILINE)  # who speaks
        text = re.sub(r"[#*_\\]| +$", "", text, flags=re.MULTILINE)  # the rest of Markdown
        texts.append(re.sub(r"^ +", "", text, flags=re.MULTILINE).strip() + "\n")
    return Split(np.array(texts, dtype=object), np.array(plays[::2], dtype=object))


def _reviews(content: bytes) -> Split:
    with tarfile.open(fileobj=io.BytesIO(content)) as folder:
        file = folder.extractfile("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt")
        lines = file.read().decode().splitlines() if file else []
    rated: dict[str, float] = {}  # text → mean of several people's ratings, from -4 to 4
    for line in lines:
        _, rating, text = line.split("\t")
        rated.setdefault(text.strip(), float(rating))
    decided = {text: rating > 0 for text, rating in rated.items() if rating}
    return Split(np.array(list(decided), dtype=object), np.array(list(decided.values()), dtype=np.int64))


def _reviews_zh(content: bytes) -> Split:
    size = 3_439_883  # bytes of neg.txt, which comes first; the rest is pos.txt
    texts = [{line.strip(): None for line in part.decode().splitlines()} for part in (content[:size], content[size:])]
    of = {text: label for label in (0, 1) for text in texts[label] if text and text not in texts[1 - label]}
    return Split(np.array(list(of), dtype=object), np.array(list(of.values()), dtype=np.int64))


_READERS = {"digits": _digits, "shakespeare": _shakespeare, "reviews": _reviews, "reviews_zh": _reviews_zh}


def _random() -> np.random.RandomState:
    return np.random.RandomState(SEED)  # not default_rng: this stream is the same in every version of NumPy


def _grey(x: NDArray[np.uint8], y: NDArray[Any]) -> Split:
    return Split(x.astype(np.float32) / np.float32(255), y.astype(np.int64))


def _source(entry: Entry) -> str:
    return entry.sample.source if entry.sample else ""


def _dataset(
    entry: Entry,
    *,
    train: Split,
    validation: Split,
    test: Split,
    source: str,
    unlike: Split | None = None,
    voices: dict[str, NDArray[np.str_]] | None = None,
) -> Dataset:
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
        unlike=unlike,
        voices=voices or {},
    )
