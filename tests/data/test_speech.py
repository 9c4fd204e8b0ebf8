"""Speech is the same on every call, says what is wrong, and prints nothing of its own."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import espeakng_loader
import numpy as np
import pytest

from aimaas_helpers.data import speech
from aimaas_helpers.data.fetch import contents
from aimaas_helpers.errors import BadInput, Unavailable


def test_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    wave = speech.say("seven")
    assert wave.dtype == np.float32 and wave.ndim == 1
    assert 0.2 < len(wave) / speech.SAMPLE_RATE < 0.8
    assert 0.1 < np.abs(wave).max() <= 1
    assert capfd.readouterr() == ("", "")


def test_the_same_words_give_the_same_samples_whatever_was_said_before() -> None:
    first = speech.say("three", "en-us+whisper")  # whose breath is noise
    speech.say("something else", "cmn")
    assert np.array_equal(first, speech.say("three", "en-us+whisper"))


def test_many_at_once() -> None:
    voices = ["en-us", "en-us+f3", "de", "en-us+klatt"]
    alone = [speech.say("nine", voice) for voice in voices]
    with ThreadPoolExecutor(4) as pool:
        for wave, together in zip(alone, pool.map(lambda voice: speech.say("nine", voice), voices), strict=True):
            assert np.array_equal(wave, together)


def test_voice_rate_and_pitch_are_heard() -> None:
    assert len(speech.say("nine", rate=300)) < 0.8 * len(speech.say("nine", rate=120))
    assert not np.array_equal(speech.say("nine", "en-us+f3"), speech.say("nine", "en-us+m3"))
    assert not np.array_equal(speech.say("nine", pitch=10), speech.say("nine", pitch=90))
    assert len(speech.say("你好", "cmn")) > 5000


def test_what_cannot_be_said() -> None:
    with pytest.raises(BadInput, match="no voice 'nowhere'; it has, for instance, 'en-us'"):
        speech.say("nine", "nowhere")
    with pytest.raises(BadInput, match=r"no voice variant 'f33'; there are .*, f3, "):
        speech.say("nine", "en-us+f33")
    with pytest.raises(BadInput, match="from 80 to 450 words a minute"):
        speech.say("nine", rate=1000)
    with pytest.raises(BadInput, match="not 175 and 100"):
        speech.say("nine", pitch=100)


def test_a_library_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: str(tmp_path / "espeak.so"))
    with pytest.raises(Unavailable, match=r"eSpeak NG does not run on this machine \(.*espeak\.so.*run `make setup`"):
        speech.say("nine")


def test_voices_that_are_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(tmp_path / "espeak-ng-data"))
    with pytest.raises(Unavailable, match="does not find its voices"):
        speech.say("nine")


def test_a_long_path_in_another_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / ("语音" * 25) / ("x" * 100)
    folder.parent.mkdir()
    folder.symlink_to(espeakng_loader.get_data_path().removesuffix("espeak-ng-data"), target_is_directory=True)
    usual = speech.say("nine")
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(folder / "espeak-ng-data"))
    assert np.array_equal(usual, speech.say("nine"))


def test_the_cached_clips_are_those_that_are_made_anew() -> None:
    clips = speech.clips(contents("spoken_digits"))
    known, unlike = speech._lines()
    assert clips.y.tolist() == [digit for digit, _ in known + unlike]
    assert clips.voice.tolist() == [line.voice for _, line in known + unlike]
    assert clips.unlike.tolist() == [False] * len(known) + [True] * len(unlike)
    for cached, made in zip(clips.x, speech._digits([line for _, line in known[:200]]), strict=False):
        assert np.array_equal(cached * 32_768, made)


def test_making_is_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "_engines", lambda: (["f3", "whisper"], ["klatt"]))
    monkeypatch.setattr(speech, "_ACCENTS", {"ja": speech._ACCENTS["ja"]})
    made = speech.spoken_digits()
    assert len(speech.clips(made).x) == 2 * 4 * 10 + 10 + 2 * 10
    samples = [sha256(np.concatenate(speech.clips(each).x)).digest() for each in (made, speech.spoken_digits())]
    assert samples[0] == samples[1]


def test_clips_have_no_silent_ends_and_16_000_samples_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    second = np.arange(speech.SAMPLE_RATE) / speech.SAMPLE_RATE
    silence = np.zeros(5000, np.float32)
    tone = np.concatenate([silence, 0.5 * np.sin(2 * np.pi * 1000 * second), silence]).astype(np.float32)
    monkeypatch.setattr(speech, "_speak", lambda lines: [tone])
    (wave,) = speech._digits([])
    assert wave.dtype == np.int16
    assert abs(len(wave) - speech.DIGITS_RATE) < 50
    assert abs(np.abs(wave).max() / 32_768 - 0.5) < 0.02
    peak = np.abs(np.fft.rfft(wave)).argmax() * speech.DIGITS_RATE / len(wave)
    assert abs(peak - 1000) < 2


def test_engines() -> None:
    usual, other = speech._engines()
    assert (len(usual), len(other)) == (85, 19)
    assert sorted(usual + other) == list(speech.variants())
    assert {"klatt", "klatt6", "Reed"} <= set(other)
