"""From files and texts to numbers: the right numbers, and a helpful refusal of what is neither."""

import base64
import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
import PIL.Image
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from aimaas_helpers import serving
from aimaas_helpers.errors import BadInput, Corrupt, TooLarge
from aimaas_helpers.serving.codecs import Codec, Image, Utf8

GREY = np.random.default_rng(0).integers(0, 256, (28, 20), np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (28, 20, 3), np.uint8)


def file(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    with io.BytesIO() as buffer:
        PIL.Image.fromarray(pixels).save(buffer, kind, **options)
        return buffer.getvalue()


def test_pixels_become_numbers_from_0_to_1() -> None:
    rows = Image(28, 20).rows([file(GREY), file(255 - GREY)])
    assert rows.dtype == np.float32 and rows.shape == (2, 28, 20)
    np.testing.assert_allclose(rows, np.stack([GREY, 255 - GREY]) / 255, rtol=1e-6)
    rows = Image(28, 20, channels=3).rows([file(COLOUR)])
    assert rows.shape == (1, 28, 20, 3)
    np.testing.assert_allclose(rows[0], COLOUR / 255, rtol=1e-6)


def test_scale_and_offset() -> None:
    rows = Image(28, 20, scale=1 / 128, offset=-127 / 128).rows([file(GREY)])
    np.testing.assert_allclose(rows[0], (GREY.astype(np.float32) - 127) / 128, atol=1e-6)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_picture_is_read(mode: str) -> None:
    """The left half black, the right half white."""
    pixels = np.repeat([[0] * 10 + [255] * 10], 28, axis=0).astype(np.uint8)
    if mode == "I;16":
        image = PIL.Image.fromarray((pixels.astype(np.uint16) // 255) * 65_535)
    else:
        image = PIL.Image.fromarray(pixels).convert("RGB").convert(mode)
    assert image.mode == mode
    buffer = io.BytesIO()
    image.save(buffer, "JPEG" if mode == "CMYK" else "PNG")
    np.testing.assert_allclose(Image(28, 20).rows([buffer.getvalue()])[0], pixels / 255, atol=0.02)
    colours = Image(28, 20, channels=3).rows([buffer.getvalue()])[0]
    np.testing.assert_allclose(colours, np.stack([pixels] * 3, axis=-1) / 255, atol=0.02)


def test_16_bits_of_grey_keep_their_order() -> None:
    ramp = np.linspace(0, 65_535, 20).astype(np.uint16)
    rows = Image(28, 20).rows([file(np.repeat(ramp[None], 28, axis=0))])
    np.testing.assert_allclose(rows[0], np.repeat(ramp[None] / 65_535, 28, axis=0), atol=1 / 255)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_stands_as_its_camera_noted(kind: str) -> None:
    exif = PIL.Image.Exif()
    exif[274] = 6  # the top of the scene is on the right of the file
    scene = np.zeros((16, 32), np.uint8)
    scene[:8] = 255
    rows = Image(16, 32).rows([file(np.rot90(scene), kind, exif=exif)])
    np.testing.assert_allclose(rows[0], scene / 255, atol=0.1)


def test_another_size_is_stretched() -> None:
    halves = np.repeat([[0] * 50 + [200] * 50], 30, axis=0).astype(np.uint8)
    rows = Image(28, 20).rows([file(halves), file(GREY)])
    np.testing.assert_allclose(rows[0, :, :9], 0, atol=0.01)
    np.testing.assert_allclose(rows[0, :, 11:], 200 / 255, rtol=0.01)
    np.testing.assert_allclose(rows[1], GREY / 255, rtol=1e-6)


def test_another_shape_is_cropped_if_so_wished() -> None:
    stripes = np.repeat([[0] * 30 + [200] * 20 + [100] * 30], 28, axis=0).astype(np.uint8)
    codec = Image(28, 20, crop=True)
    np.testing.assert_allclose(codec.rows([file(stripes)])[0], 200 / 255, rtol=1e-6)
    np.testing.assert_allclose(codec.rows([file(GREY)])[0], GREY / 255, rtol=1e-6)


def png_header(width: int, height: int) -> bytes:
    """A picture that says how large it is and holds nothing: reading it would fail with another sentence."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize("size", [(5793, 5793), (10_000, 10_000), (60_000, 60_000)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_unread(size: tuple[int, int]) -> None:
    with pytest.raises(BadInput, match=r"^Row 1 has more than the 33,554,432 pixels that are read; expected a PNG"):
        Image(28, 20).rows([file(GREY), png_header(*size) + b"\0\0\0\4IDAT"])


@pytest.mark.parametrize(
    "value, reason",
    [
        (b"", r"is not a picture: it is 0 bytes that begin with b''"),
        (b"PK\3\4 not a picture", r"is not a picture: it is 18 bytes that begin with b'PK\\x03\\x04 not'"),
        (file(GREY, "GIF"), "is not a picture: .* b'GIF87a"),
        (file(GREY)[:-40], "is damaged or cut short"),
        (file(COLOUR, "JPEG")[:-100], "is damaged or cut short"),
        (file(GREY)[:60], "is (not a picture|damaged)"),
        (file(COLOUR, "JPEG")[:30], "is (not a picture|damaged)"),
    ],
    ids=["empty", "ZIP", "GIF", "short PNG", "short JPEG", "PNG's head", "JPEG's head"],
)
def test_what_is_no_whole_picture_is_refused_by_its_row(value: bytes, reason: str) -> None:
    with pytest.raises(BadInput, match=f"^Row 2 {reason}.*; expected a PNG or JPEG file"):
        Image(28, 20).rows([file(GREY), file(COLOUR), value])


EXIF = PIL.Image.Exif()
EXIF[274] = 3
WHOLE = [file(GREY), file(COLOUR, "JPEG", exif=EXIF), file(COLOUR, exif=EXIF)]


@given(st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=4)), max_size=6))
def test_damage_never_does_worse_than_being_refused(whole: bytes, changes: list[tuple[int, bytes]]) -> None:
    value = bytearray(whole)
    for place, content in changes:
        place %= len(value)
        value[place : place + max(1, len(content))] = content
    try:
        rows = Image(28, 20).rows([bytes(value)])
    except BadInput as error:
        assert str(error).startswith("Row 0 ")
    else:
        assert rows.shape == (1, 28, 20) and 0 <= rows.min() <= rows.max() <= 1


def test_few_bytes_do_not_become_too_many_numbers() -> None:
    with pytest.raises(TooLarge, match=r"^3,000 rows would take 1,723 MiB, more than 256; pass fewer at a time\.$"):
        Image(224, 224, channels=3).rows([b""] * 3000)
    with pytest.raises(TooLarge, match="pass fewer"):
        Utf8(1000).rows([b""] * 100_000)


def test_texts_become_bytes_with_the_end_kept() -> None:
    rows = Utf8(5).rows(["é!".encode(), b"", b"abcdefg", b"\xff\0abc"])
    assert rows.dtype == np.int32
    assert rows.tolist() == [
        [0, 0, 0xC3, 0xA9, 33],
        [0, 0, 0, 0, 0],
        [99, 100, 101, 102, 103],
        [0xFF, 0, 97, 98, 99],
    ]
    assert Utf8(5).rows([]).shape == (0, 5)


@pytest.mark.parametrize("make", [lambda: Image(0, 5), lambda: Image(5, 5, channels=2), lambda: Utf8(0)])
def test_options_that_cannot_be(make: Any) -> None:
    with pytest.raises(BadInput, match="at least 1"):
        make()


@pytest.mark.parametrize("codec", [Image(28, 20, channels=3, scale=0.5, offset=-1), Utf8(7)])
def test_a_codec_reads_back_as_itself(codec: Codec) -> None:
    assert msgspec.json.decode(msgspec.json.encode(codec), type=Codec) == codec


def picture_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((28, 20), name="image")
    return keras.Model(image, layers.Dense(3, name="scores")(layers.Flatten()(image)))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, serving.Artefact]:
    model = picture_model()
    folder = tmp_path_factory.mktemp("models") / "pictures"
    return model, serving.export(model, folder, codecs={"image": Image(28, 20)})


def test_preprocessing_travels_with_the_model(
    pictures: tuple[keras.Model, serving.Artefact], http: requests.Session
) -> None:
    model, artefact = pictures
    values = [file(GREY), file(COLOUR, "JPEG")]
    instances = [{"b64": base64.b64encode(value).decode()} for value in values]
    with serving.local(artefact.path.parent) as service:
        url = f"{service.url}/v1/models/pictures:predict"
        reply = http.post(url, json={"instances": instances})
        assert reply.status_code == 200, reply.text
        expected = model(Image(28, 20).rows(values))
        np.testing.assert_allclose(reply.json()["predictions"], expected, rtol=1e-5, atol=1e-5)
        reply = http.post(url, json={"instances": [*instances, {"b64": "bm8="}]})
        assert reply.status_code == 400
        assert reply.json()["error"].startswith("Row 2 is not a picture: it is 2 bytes that begin with b'no'")


def test_the_card_keeps_codecs_and_capabilities(pictures: tuple[keras.Model, serving.Artefact]) -> None:
    card = serving.open_artefact(pictures[1].path).card
    assert card.codecs == {"image": Image(28, 20)} and card.capabilities == ()


TEXT = {"text": {"type": "utf8", "length": 8}}
WORDS = {"text": {"type": "words", "vocabulary": ["good"], "length": 8}}
ONE_TEXT = [{"name": "text", "dtype": "int32", "shape": [None, 8]}]
VECTOR = [{"name": "y", "dtype": "float32", "shape": [None, 4]}]


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"codecs": TEXT}, "There is no input 'text' for a codec; there are 'image'."),
        (
            {"codecs": {"image": {"type": "image", "height": 28, "width": 28}}},
            "The codec of the input 'image' gives float32 (batch, 28, 28), "
            "but the model takes float32 (batch, 28, 20).",
        ),
        (
            {"codecs": {"image": {"type": "utf8", "length": 28}}},
            "gives int32 (batch, 28), but the model takes float32 (batch, 28, 20).",
        ),
        ({"codecs": {"image": {"type": "image", "height": 0, "width": 20}}}, "not 0 × 20 pixels"),
        ({"codecs": {"image": {"type": "tarot"}}}, "Invalid value 'tarot'"),
        (
            {"capabilities": ["telepathy"]},
            "'telepathy' is no capability; there are 'embeddings', 'completions' and 'chat'.",
        ),
        ({"capabilities": ["embeddings"]}, "A model with 'embeddings' has one input, with a codec of texts"),
        (
            {"capabilities": ["chat"], "codecs": WORDS, "inputs": ONE_TEXT},
            "A model with 'chat' has one input, with a codecs.Utf8 in `codecs`.",
        ),
        (
            {"capabilities": ["chat"], "codecs": TEXT, "inputs": ONE_TEXT, "outputs": VECTOR},
            "A model with 'chat' has one output, of shape (batch, 256); this one has 'y': float32 (batch, 4).",
        ),
        (
            {"capabilities": ["embeddings"], "codecs": TEXT, "inputs": ONE_TEXT, "outputs": VECTOR * 2},
            "A model with 'embeddings' has one output, of shape (batch, any)",
        ),
    ],
)
def test_a_card_that_contradicts_itself(
    pictures: tuple[keras.Model, serving.Artefact], tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    original = pictures[1].path
    (tmp_path / "model.tflite").write_bytes((original / "model.tflite").read_bytes())
    card = json.loads((original / "model_card.json").read_bytes())
    (tmp_path / "model_card.json").write_text(json.dumps(card | changes))
    with pytest.raises(Corrupt) as caught:
        serving.open_artefact(tmp_path)
    assert reason in str(caught.value)


def test_cards_from_before_codecs_still_open(pictures: tuple[keras.Model, serving.Artefact], tmp_path: Path) -> None:
    original = pictures[1].path
    (tmp_path / "model.tflite").write_bytes((original / "model.tflite").read_bytes())
    card = json.loads((original / "model_card.json").read_bytes())
    del card["codecs"], card["capabilities"]
    (tmp_path / "model_card.json").write_text(json.dumps(card))
    opened = serving.open_artefact(tmp_path).card
    assert opened.codecs == {} and opened.capabilities == ()


def test_export_refuses_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is one of serving\.codecs, not 'png'"):
        serving.export(picture_model(), tmp_path / "pictures", codecs={"image": "png"})  # type: ignore[dict-item]
    assert list((tmp_path / "pictures").iterdir()) == []
