"""Speech from text, made on this machine by eSpeak NG, and the spoken digits that are made with it."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput, Unavailable
from . import espeak

Waveform = NDArray[np.float32]  # [samples], from -1 to 1

SAMPLE_RATE = espeak.SAMPLE_RATE  # of what ``say`` returns, samples a second
DIGITS_RATE = 16_000  # of the spoken digits

_ENGLISH = "zero one two three four five six seven eight nine"
_SETTINGS = ((140, 50), (165, 35), (190, 65), (215, 50))  # words a minute, pitch
_USUAL = (175, 50)

# Voices unlike those of the training set: English of other places; and the English digits as they are written, and
# so spoken, by people with another language.
_ACCENTS = {
    **dict.fromkeys(["en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd"], _ENGLISH),
    **dict.fromkeys(["en-029", "en-us-nyc"], _ENGLISH),
    "de": "siero wann tu sri for faif siks sewwen äit nain",
    "es": "sirou uan tu sri for faif siks seven eit nain",
    "fr": "ziro ouanne tou sri fore faïve sixe sévène éïte naïne",
    "it": "ziro uan tu tri for faiv sics seven eit nain",
    "pl": "ziro łan tu tri for fajw siks sewen ejt najn",
    "ru": "зиро уан ту сри фор файв сикс севен эйт найн",
    "hi": "ज़ीरो वन टू थ्री फोर फाइव सिक्स सेवन एट नाइन",
    "ja": "ゼロ ワン ツー スリー フォー ファイブ シックス セブン エイト ナイン",
    "ko": "제로 원 투 쓰리 포 파이브 식스 세븐 에이트 나인",
}


class Line(NamedTuple):
    """Something to say."""

    text: str
    voice: str
    rate: int  # words a minute
    pitch: int


class Clips(NamedTuple):
    """n spoken digits, of ``DIGITS_RATE`` samples a second."""

    x: NDArray[Any]  # n waveforms of different lengths
    y: NDArray[np.int64]
    voice: NDArray[np.str_]
    unlike: NDArray[np.bool_]  # is it one of the voices unlike those of the training set?


def say(text: str, voice: str = "en-us", *, rate: int = 175, pitch: int = 50) -> Waveform:
    """Speak ``text`` with eSpeak NG: float32 samples from -1 to 1, ``SAMPLE_RATE`` (22,050) a second.

    The same words give the same samples on every call. Each call starts a process, which takes about 40 ms.

    Args:
        voice: a language, such as ``"en-us"`` or ``"cmn"``, and if wanted a variant of it, as in ``"en-us+f3"``;
            ``variants()`` lists those.
        rate: words a minute, 80 to 450.
        pitch: 0 to 99.

    Raises:
        BadInput: there is no such voice, or ``rate`` or ``pitch`` is out of its range.
        Unavailable: eSpeak NG does not run on this machine.
    """
    variant = voice.partition("+")[2]
    if variant and variant not in variants():
        raise BadInput(f"There is no voice variant {variant!r}; there are {', '.join(variants())}.")
    if not (80 <= rate <= 450 and 0 <= pitch <= 99):
        raise BadInput(f"The rate is from 80 to 450 words a minute and the pitch from 0 to 99, not {rate} and {pitch}.")
    return _speak([Line(text, voice, rate, pitch)])[0]


@cache
def variants() -> tuple[str, ...]:
    """The names of the voice variants, each a speaker or a manner of speaking, such as ``"f3"`` or ``"whisper"``."""
    return tuple(sorted(os.listdir(_folder() / "espeak-ng-data" / "voices" / "!v")))


def spoken_digits() -> bytes:
    """Make the data set of spoken digits: an .npz file's content, which ``clips`` reads. Takes some seconds."""
    known, unlike = _lines()
    digits, every = zip(*known, *unlike, strict=True)
    # Shares of one size, because what eSpeak NG says depends a little on what it said before.
    shares = [every[start : start + 200] for start in range(0, len(every), 200)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waves = [wave for share in pool.map(_digits, shares) for wave in share]
    buffer = io.BytesIO()
    np.savez(
        buffer,
        samples=np.concatenate(waves),
        ends=np.cumsum([len(wave) for wave in waves]),
        y=np.array(digits),
        voice=np.array([line.voice for line in every]),
        unlike=np.arange(len(every)) >= len(known),
    )
    return buffer.getvalue()


def clips(content: bytes) -> Clips:
    """The spoken digits that ``spoken_digits`` made."""
    with np.load(io.BytesIO(content)) as file:
        samples = np.multiply(file["samples"], np.float32(1 / 32_768), dtype=np.float32)
        x = np.empty(len(file["ends"]), dtype=object)
        x[:] = np.split(samples, file["ends"][:-1])
        return Clips(x, file["y"].astype(np.int64), file["voice"], file["unlike"])


def _lines() -> tuple[list[tuple[int, Line]], list[tuple[int, Line]]]:
    """What is said by the voices of the training set and by those unlike them, each with its digit."""
    usual, other = _engines()
    voices = [(f"en-us+{variant}", _ENGLISH) for variant in other]
    voices += [(accent + engine, words) for accent, words in _ACCENTS.items() for engine in ("", "+klatt")]
    known = [
        (digit, Line(word, f"en-us+{variant}", *setting))
        for variant in usual
        for setting in _SETTINGS
        for digit, word in enumerate(_ENGLISH.split())
    ]
    return known, [
        (digit, Line(word, voice, *_USUAL)) for voice, words in voices for digit, word in enumerate(words.split())
    ]


def _engines() -> tuple[list[str], list[str]]:
    """The variants that speak with eSpeak's usual engine, and those with its other one, D. Klatt's."""
    folder = _folder() / "espeak-ng-data" / "voices" / "!v"
    klatt = {name for name in variants() if "\nklatt" in (folder / name).read_text(errors="replace")}
    return [name for name in variants() if name not in klatt], sorted(klatt)


def _digits(lines: Sequence[Line]) -> list[NDArray[np.int16]]:
    from scipy.signal import firwin, resample_poly  # only here: it takes half a second to import

    # The filter that resample_poly would design anew for each clip, which takes ten times as long as to apply it.
    low_pass = firwin(20 * 441 + 1, 1 / 441, window=("kaiser", 5.0)).astype(np.float32)
    waves = []
    for wave in _speak(lines):
        wave = resample_poly(wave, 320, 441, window=low_pass)  # 22,050 → 16,000 a second
        loud = np.flatnonzero(np.abs(wave) > 0.01 * np.abs(wave).max())  # above -40 dB: no silence at either end
        wave = wave[loud[0] : loud[-1] + 1]
        waves.append((wave.clip(-1, 1) * 32_767).astype(np.int16))
    return waves


def _speak(lines: Sequence[Line]) -> list[Waveform]:
    import espeakng_loader

    ran = subprocess.run(
        [sys.executable, "-I", "-S", espeak.__file__, espeakng_loader.get_library_path()],
        cwd=_folder(),  # eSpeak takes no path of more than 160 bytes, so it gets "."
        input=json.dumps(lines).encode(),
        capture_output=True,
    )
    if ran.returncode:
        reason = ran.stderr.decode(errors="replace").strip().splitlines() or [f"it ended with {ran.returncode}"]
        raise Unavailable(f"eSpeak NG does not run on this machine ({reason[-1]}): run `make setup`.")
    waves, start = [], 0
    for line in lines:
        length = int.from_bytes(ran.stdout[start : start + 4], "little", signed=True)
        if length < 0:
            raise BadInput(f"eSpeak NG has no voice {line.voice!r}; it has, for instance, 'en-us' and 'en-us+f3'.")
        samples = np.frombuffer(ran.stdout, np.int16, length // 2, start + 4)
        waves.append(samples.astype(np.float32) / np.float32(32_768))
        start += 4 + length
    return waves


def _folder() -> Path:
    import espeakng_loader

    return Path(espeakng_loader.get_data_path()).parent
