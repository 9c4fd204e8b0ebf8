"""Preprocessing travels with the model: what a client sends is answered as training would have seen it."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import PIL.Image
import pytest
import requests
import soundfile
import tritonclient.http
from keras import layers

from aimaas_helpers import serving
from aimaas_helpers.serving.codecs import Board, Codec, Image, Keys, Sound, WordPieces, Words

RANDOM = np.random.default_rng(0)


def photograph(kind: str) -> bytes:
    with io.BytesIO() as buffer:
        PIL.Image.fromarray(RANDOM.integers(0, 256, (40, 60, 3), np.uint8)).save(buffer, kind)
        return buffer.getvalue()


def recording(seconds: float, rate: int) -> bytes:
    with io.BytesIO() as buffer:
        soundfile.write(buffer, RANDOM.uniform(-1, 1, round(seconds * rate)), rate, format="WAV")
        return buffer.getvalue()


class Case(NamedTuple):
    codec: Codec
    values: list[bytes]
    bad: bytes
    status: int
    reason: str


CASES = {
    "photographs": Case(
        Image(32, 32, channels=3, scale=1 / 128, offset=-127 / 128, crop=True),
        [photograph("PNG"), photograph("JPEG")],
        photograph("JPEG")[:-200],
        400,
        "Row 2 is damaged or cut short",
    ),
    "texts": Case(
        Words(("good", "bad", "好", "👍", "not good"), length=9, pairs=True),
        ["NOT good, 好 👍!".encode(), b"bad"],
        b"word " * 2_000_000,
        413,
        "Row 2 has 10,000,000 bytes; expected a text of at most 65,536.",
    ),
    "pieces": Case(
        WordPieces(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "##ness", "好", "!", "##!"), length=16),
        ["Good GOODNESS, 好!".encode(), b"bad"],
        b" ",
        400,
        "Row 2 has no word in it; expected a text.",
    ),
    "sounds": Case(
        Sound(8_000, 0.5),
        [recording(0.2, 16_000), recording(0.9, 8_000)],
        b"no sound",
        400,
        "Row 2 is not a sound: it is 8 bytes",
    ),
    "films": Case(
        Keys(("7", "11", "13"), length=4, noun="film"),
        [b"13, 7", b"11"],
        b"12",
        400,
        "Row 2 names the film '12', which the model has not seen",
    ),
    "boards": Case(
        Board(4, 5),
        [b"...../...../...../..x..", b"...../...../..o../..x.."],
        b"...../..x../...../.....",
        400,
        "Row 2 has a stone with nothing below it",
    ),
}


def network(codec: Codec) -> keras.Model:
    """Any function that tells its inputs apart."""
    given = keras.Input(codec.shape, dtype=codec.dtype, name="given")
    x = layers.Embedding(9, 3)(given) if codec.dtype == "int32" else given
    return keras.Model(given, layers.Dense(3, name="scores")(layers.Flatten()(x)))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, keras.Model]]]:
    keras.utils.set_random_seed(0)
    folder: Path = tmp_path_factory.mktemp("models")
    models = {name: network(case.codec) for name, case in CASES.items()}
    for name, model in models.items():
        serving.export(model, folder / name, codecs={"given": CASES[name].codec})
    with serving.local(folder) as service:
        yield service.url, models


def b64(value: bytes) -> Any:
    return {"b64": base64.b64encode(value).decode()}


@pytest.mark.parametrize("name", CASES)
def test_what_people_have_is_answered_as_the_model_would(
    name: str, served: tuple[str, dict[str, keras.Model]], http: requests.Session
) -> None:
    url, models = served
    codec, values, bad, status, reason = CASES[name]
    expected = np.asarray(models[name](codec.rows(values)))
    assert np.abs(expected[0] - expected[1]).max() > 1e-3

    predict = f"{url}/v1/models/{name}:predict"
    reply = http.post(predict, json={"instances": [b64(value) for value in values]})
    assert reply.status_code == 200, reply.text
    np.testing.assert_allclose(reply.json()["predictions"], expected, rtol=1e-4, atol=1e-5)
    if codec.dtype == "int32" or name == "boards":  # texts may be sent as they are
        reply = http.post(predict, json={"instances": [value.decode() for value in values]})
        np.testing.assert_allclose(reply.json()["predictions"], expected, rtol=1e-4, atol=1e-5)

    reply = http.post(predict, data=json.dumps({"instances": [b64(value) for value in [*values, bad]]}))
    assert reply.status_code == status and reply.json()["error"].startswith(reason), reply.text


@pytest.mark.parametrize("name", CASES)
def test_in_binary_too(name: str, served: tuple[str, dict[str, keras.Model]]) -> None:
    url, models = served
    codec, values, *_ = CASES[name]
    given = tritonclient.http.InferInput("given", [len(values)], "BYTES")
    given.set_data_from_numpy(np.array(values, object))
    with tritonclient.http.InferenceServerClient(url.removeprefix("http://")) as client:
        scores = client.infer(name, [given]).as_numpy("scores")
    np.testing.assert_allclose(scores, np.asarray(models[name](codec.rows(values))), rtol=1e-4, atol=1e-5)


def test_the_page_shows_requests_that_work(served: tuple[str, dict[str, keras.Model]], http: requests.Session) -> None:
    url, _ = served
    for name, (codec, *_) in CASES.items():
        example = codec.example
        reply = http.post(f"{url}/v1/models/{name}:predict", json={"instances": [b64(example)]})
        assert reply.status_code == 200, reply.text
        text = example.decode(errors="ignore")
        shown = text if text.isprintable() else base64.b64encode(example).decode()
        assert json.dumps(shown)[1:-1] in http.get(url, headers={"Accept": "text/html"}).text.replace("&#34;", '"')
