"""Preprocessing that travels with the model: from what people have, in bytes, to the numbers it was trained on.

Training code and the server use the same objects, so that the two cannot drift apart: ``codec.rows(values)`` makes the
training data, and ``serving.export(..., codecs={"image": codec})`` lets clients send such values.
"""

from typing import TypeAlias

from aimaas_helpers.serving.codecs.board import Board
from aimaas_helpers.serving.codecs.keys import Keys
from aimaas_helpers.serving.codecs.picture import Image
from aimaas_helpers.serving.codecs.pieces import WordPieces
from aimaas_helpers.serving.codecs.sound import Sound
from aimaas_helpers.serving.codecs.text import Utf8, Words

Text: TypeAlias = Utf8 | Words | WordPieces
Codec: TypeAlias = Image | Text | Sound | Keys | Board

__all__ = ["Board", "Codec", "Image", "Keys", "Sound", "Text", "Utf8", "WordPieces", "Words"]
