"""The program that speaks: eSpeak NG in a process of its own, so that its state and its faults end with it.

Run as ``python espeak.py LIBRARY`` in the folder that holds ``espeak-ng-data``: requests come on standard input as
JSON, ``[[text, voice, words a minute, pitch], …]``; the answers go to standard output, for each a 4-byte length and
as many bytes of 16-bit samples, 22,050 a second. A voice that does not exist is answered with the length -1.
Only the standard library is used: it starts in 30 milliseconds.
"""

import ctypes
import json
import sys
from typing import Any

SAMPLE_RATE = 22_050

# As in eSpeak NG's speak_lib.h.
SYNCHRONOUS, DONT_EXIT, UTF8, RATE, PITCH = 2, 0x8000, 1, 1, 3
_HEARD = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def main(library: str) -> None:
    espeak: Any = ctypes.CDLL(library)
    if espeak.espeak_Initialize(SYNCHRONOUS, 0, b".", DONT_EXIT) != SAMPLE_RATE:
        sys.exit("eSpeak NG does not find its voices")
    pieces: list[bytes] = []

    def heard(samples: Any, count: int, _: Any) -> int:
        if samples and count:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = _HEARD(heard)  # kept in a variable, because eSpeak does not keep it alive
    espeak.espeak_SetSynthCallback(callback)
    espeak.espeak_ng_SetRandSeed(ctypes.c_long(2026))  # for breath and noise; else it is the time of day
    for text, voice, rate, pitch in json.load(sys.stdin.buffer):
        pieces.clear()
        known = espeak.espeak_SetVoiceByName(voice.encode()) == 0
        if known:
            espeak.espeak_SetParameter(RATE, rate, 0)
            espeak.espeak_SetParameter(PITCH, pitch, 0)
            line = text.encode() + b"\0"
            espeak.espeak_Synth(line, ctypes.c_size_t(len(line)), 0, 0, 0, UTF8, None, None)
        wave = b"".join(pieces)
        length = len(wave) if known else -1
        sys.stdout.buffer.write(length.to_bytes(4, "little", signed=True) + wave)


if __name__ == "__main__":
    main(sys.argv[1])
