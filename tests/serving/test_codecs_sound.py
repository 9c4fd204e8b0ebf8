"""Sounds: one wave however it was recorded, and a helpful refusal of what is none."""

import io
import struct
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from aimaas_helpers.errors import BadInput, TooLarge
from aimaas_helpers.serving.codecs import Codec, Sound

SOUND = Sound(rate=16_000, seconds=0.5)
TIME = np.arange(8_000) / 16_000
TONE = (0.5 * np.sin(2 * np.pi * 440 * TIME)).astype(np.float32)


def file(wave: np.ndarray, rate: int = 16_000, kind: str = "WAV", subtype: str | None = None) -> bytes:
    with io.BytesIO() as buffer:
        soundfile.write(buffer, wave, rate, format=kind, subtype=subtype)
        return buffer.getvalue()


@pytest.mark.parametrize("subtype, error", [("PCM_U8", 0.01), ("PCM_16", 1e-4), ("PCM_24", 1e-6), ("FLOAT", 0)])
def test_samples_become_numbers_from_minus_1_to_1(subtype: str, error: float) -> None:
    rows = SOUND.rows([file(TONE, subtype=subtype), file(-TONE, subtype=subtype)])
    assert rows.dtype == np.float32 and rows.shape == (2, 8_000)
    np.testing.assert_allclose(rows, [TONE, -TONE], atol=error)


def test_flac_and_ogg_are_read_too() -> None:
    rows = SOUND.rows([file(TONE, kind="FLAC"), file(TONE, kind="OGG")])
    np.testing.assert_allclose(rows[0], TONE, atol=1e-4)
    assert np.corrcoef(rows[1], TONE)[0, 1] > 0.99


def test_channels_become_their_mean() -> None:
    rows = SOUND.rows([file(np.stack([TONE, 0 * TONE], axis=1), subtype="FLOAT")])
    np.testing.assert_allclose(rows[0], TONE / 2, atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_another_rate_is_the_same_tone(rate: int) -> None:
    time = np.arange(rate // 2) / rate
    (row,) = SOUND.rows([file(0.5 * np.sin(2 * np.pi * 440 * time), rate, subtype="FLOAT")])
    np.testing.assert_allclose(row[200:-200], TONE[200:-200], atol=0.01)


def test_a_short_sound_stands_in_the_middle_of_silence() -> None:
    (row,) = SOUND.rows([file(np.full(1_000, 0.5), subtype="FLOAT")])
    assert (row[3_500:4_500] == 0.5).all() and not row[:3_500].any() and not row[4_500:].any()


def test_of_a_long_sound_the_loudest_stretch_is_kept() -> None:
    wave = np.concatenate([np.zeros(20_000), TONE, np.zeros(20_000)])
    np.testing.assert_allclose(SOUND.rows([file(wave, subtype="FLOAT")])[0], TONE, atol=1e-6)


def header(samples: int, rate: int = 16_000, channels: int = 1) -> bytes:
    """A WAV file that says how much it holds and holds nothing."""
    size = samples * channels
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels, channels, 8)
    return b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", size)


@pytest.mark.parametrize(
    "value, reason",
    [
        (b"", r"is not a sound: it is 0 bytes that begin with b''"),
        (b"a text called .wav", r"is not a sound: it is 18 bytes that begin with b'a text c'"),
        (file(TONE)[:20], "is not a sound: it is 20 bytes"),
        (file(np.zeros(0)), "is a file without a single sample"),
        (header(0), "is a file without a single sample"),
        (file(TONE, 1_000), "has 1,000 samples a second, not 4,000 to 192,000"),
        (file(np.zeros((10, 9))), "has 9 channels, more than 8"),
        (file(np.array([0, np.nan]), subtype="FLOAT"), "has samples that are not finite numbers"),
    ],
    ids=["empty", "text", "short head", "no samples", "head only", "slow", "channels", "nan"],
)
def test_what_is_no_sound_is_refused_by_its_row(value: bytes, reason: str) -> None:
    with pytest.raises(BadInput) as caught:
        SOUND.rows([file(TONE), value])
    assert str(caught.value).startswith(f"Row 1 {reason}")
    assert str(caught.value).endswith("; expected a WAV, FLAC or OGG file.")


def test_hours_are_refused_unread() -> None:
    hour = file(np.zeros(3_600 * 4_000, np.int16), 4_000, kind="FLAC")
    assert len(hour) < 10**6  # of silence; as numbers it would be a hundred times larger
    with pytest.raises(TooLarge, match=r"^Row 0 lasts 1\.0 hours; expected at most 60 seconds\.$"):
        SOUND.rows([hour])
    with pytest.raises(TooLarge, match=r"^Row 0 lasts 1\.5 minutes; expected at most 60 seconds\.$"):
        SOUND.rows([file(np.zeros(360_000), 4_000)])


WHOLE = [file(TONE[:400]), file(TONE[:400], kind="FLAC"), file(TONE[:400], kind="OGG")]


@given(st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=4)), max_size=6))
def test_damage_never_does_worse_than_being_refused(whole: bytes, changes: list[tuple[int, bytes]]) -> None:
    value = bytearray(whole)
    for place, content in changes:
        place %= len(value)
        value[place : place + max(1, len(content))] = content
    try:
        rows = SOUND.rows([bytes(value)])
    except (BadInput, TooLarge) as error:
        assert str(error).startswith("Row 0 ")
    else:
        assert rows.shape == (1, 8_000) and np.isfinite(rows).all()


@pytest.mark.parametrize("make", [lambda: Sound(rate=100), lambda: Sound(seconds=0), lambda: Sound(seconds=61)])
def test_options_that_cannot_be(make: Any) -> None:
    with pytest.raises(BadInput, match="A sound has 4,000 to 192,000 samples a second"):
        make()


def test_it_reads_back_as_itself_and_its_example_can_be_sent() -> None:
    assert msgspec.json.decode(msgspec.json.encode(SOUND), type=Codec) == SOUND
    assert len(SOUND.example) < 100 and SOUND.rows([SOUND.example]).shape == (1, 8_000)
