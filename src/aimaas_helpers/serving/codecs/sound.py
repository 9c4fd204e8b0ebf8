"""Sounds."""

import io
import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from aimaas_helpers.errors import BadInput, TooLarge
from aimaas_helpers.serving.codecs.rows import empty
from aimaas_helpers.serving.tensors import Array

_MAX_SECONDS = 60
"""Of one recording; a longer one is refused unread."""

_MAX_CHANNELS = 8

_RATES = range(4_000, 192_001)
"""Samples a second that a recording may have."""


class Sound(msgspec.Struct, frozen=True, tag="sound"):
    """WAV, FLAC or OGG files to float32 ``(n, samples)``: the wave, between -1 and 1, ``rate`` samples a second.

    Several channels become their mean, and another rate becomes this one. A recording that is shorter than ``seconds``
    has silence before and after it; of a longer one, the stretch with the most energy is kept. Raises ``BadInput`` for
    options that cannot be.
    """

    rate: int = 16_000
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.rate not in _RATES or not 1 <= self.rate * self.seconds <= self.rate * _MAX_SECONDS:
            raise BadInput(
                f"A sound has {_RATES.start:,} to {_RATES.stop - 1:,} samples a second and lasts at most "
                f"{_MAX_SECONDS} seconds, not {self.rate:,} samples a second and {self.seconds:g} seconds."
            )

    @property
    def dtype(self) -> str:
        return "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return (round(self.rate * self.seconds),)

    @property
    def example(self) -> bytes:
        """A value that can be sent: a moment of silence."""
        import soundfile

        with io.BytesIO() as file:
            soundfile.write(file, np.zeros(8), self.rate, format="WAV", subtype="PCM_U8")
            return file.getvalue()

    def rows(self, values: Sequence[bytes]) -> Array:
        """One row a file. Raises ``BadInput`` naming the row that is no sound, ``TooLarge`` for too many rows."""
        rows = empty(len(values), self.shape, self.dtype)
        for number, value in enumerate(values):
            try:
                rows[number] = self.fitted(*_read(value))
            except BadInput as error:
                raise BadInput(f"Row {number} {error}; expected a WAV, FLAC or OGG file.") from None
            except TooLarge as error:
                raise TooLarge(f"Row {number} {error}; expected at most {_MAX_SECONDS} seconds.") from None
        return rows

    def fitted(self, wave: Array, rate: int) -> Array:
        """A wave ``(samples,)`` with ``rate`` samples a second as one row: float32 of this codec's length."""
        if rate != self.rate:
            import scipy.signal

            common = math.gcd(rate, self.rate)
            wave = scipy.signal.resample_poly(wave, self.rate // common, rate // common)
        (length,) = self.shape
        if len(wave) > length:
            energy = np.concatenate([[0.0], np.cumsum(np.square(wave, dtype=np.float64))])
            start = int(np.argmax(energy[length:] - energy[:-length]))
            wave = wave[start : start + length]
        before = (length - len(wave)) // 2
        row: Array = np.zeros(length, np.float32)
        row[before : before + len(wave)] = wave
        return row


def _read(value: bytes) -> tuple[Array, int]:
    """A file's wave ``(samples,)`` and how many samples it has a second."""
    import soundfile  # only here, as SciPy above: together they would double the memory of every server

    try:
        with soundfile.SoundFile(io.BytesIO(value)) as file:
            rate, seconds = int(file.samplerate), file.frames / max(1, file.samplerate)
            if seconds > _MAX_SECONDS:
                raise TooLarge(f"lasts {_duration(seconds)}")
            if rate not in _RATES:
                raise BadInput(f"has {rate:,} samples a second, not {_RATES.start:,} to {_RATES.stop - 1:,}")
            if file.channels > _MAX_CHANNELS:
                raise BadInput(f"has {file.channels} channels, more than {_MAX_CHANNELS}")
            wave: Any = file.read(dtype="float32", always_2d=True)
    except soundfile.SoundFileError:
        raise BadInput(f"is not a sound: it is {len(value):,} bytes that begin with {value[:8]!r}") from None
    if not len(wave):
        raise BadInput("is a file without a single sample")
    if not np.isfinite(wave).all():
        raise BadInput("has samples that are not finite numbers")
    return wave.mean(axis=1), rate


def _duration(seconds: float) -> str:
    hours, minutes = seconds / 3600, seconds / 60
    return f"{hours:.1f} hours" if hours >= 1 else f"{minutes:.1f} minutes"
