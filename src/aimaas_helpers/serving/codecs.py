"""Preprocessing that travels with the model: from a picture or a text, in bytes, to the numbers it was trained on.

Training code and the server use the same objects, so that the two cannot drift apart.
"""

import io
import math
from collections.abc import Sequence
from typing import TypeAlias

import msgspec
import numpy as np
import PIL.Image
import PIL.ImageOps

from aimaas_helpers.errors import BadInput, TooLarge
from aimaas_helpers.serving.tensors import Array

_MAX_PIXELS = 2**25
"""Of one picture; a larger one is refused unread, for a small file can hold a very large one."""

_MAX_BYTES = 2**28
"""Of the rows made at a time; many small files can become very large rows."""


class Image(msgspec.Struct, frozen=True, tag="image"):
    """PNG or JPEG files to float32 ``(n, height, width)``, or ``(n, height, width, channels)`` if ``channels`` is 3.

    One channel is grey, three are red, green and blue; a picture that has others is converted, transparency is
    ignored. It is turned upright as its camera noted, and stretched if it has another size. A value is
    ``pixel * scale + offset``, where ``pixel`` is 0 to 255. Raises ``BadInput`` for options that cannot be.
    """

    height: int
    width: int
    channels: int = 1
    scale: float = 1 / 255
    offset: float = 0.0

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1 or self.channels not in (1, 3):
            raise BadInput(
                "A picture has a height and a width of at least 1 pixel, and 1 channel or 3, "
                f"not {self.height} × {self.width} pixels in {self.channels} channels."
            )

    @property
    def dtype(self) -> str:
        return "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return (self.height, self.width, 3) if self.channels == 3 else (self.height, self.width)

    def rows(self, values: Sequence[bytes]) -> Array:
        """One row a file. Raises ``BadInput`` naming the row that is no picture, ``TooLarge`` for too many rows."""
        rows = _empty(len(values), self)
        for number, value in enumerate(values):
            try:
                rows[number] = self._pixels(value)
            except BadInput as error:
                raise BadInput(f"Row {number} {error}; expected a PNG or JPEG file.") from None
        rows *= np.float32(self.scale)
        rows += np.float32(self.offset)
        return rows

    def _pixels(self, value: bytes) -> Array:
        try:
            file = PIL.Image.open(io.BytesIO(value), formats=("PNG", "JPEG"))  # reads the size only
            if file.width * file.height > _MAX_PIXELS:
                raise PIL.Image.DecompressionBombError
        except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
            raise BadInput(f"has more than the {_MAX_PIXELS:,} pixels that are read") from None
        except Exception:  # Pillow raises many kinds
            raise BadInput(f"is not a picture: it is {len(value):,} bytes that begin with {value[:8]!r}") from None
        try:
            image: PIL.Image.Image = PIL.ImageOps.exif_transpose(file)  # reads the whole file
            if image.mode.startswith("I"):  # grey of 16 bits, which Pillow would clip
                image = PIL.Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            image = image.convert("RGB" if self.channels == 3 else "L")
            if image.size != (self.width, self.height):
                image = image.resize((self.width, self.height), PIL.Image.Resampling.BILINEAR)
            return np.asarray(image)
        except Exception as error:
            raise BadInput(f"is damaged or cut short ({error})") from None


class Utf8(msgspec.Struct, frozen=True, tag="utf8"):
    """Texts to int32 ``(n, length)``, a number a byte: the simplest tokenizer, which needs no vocabulary.

    Of a longer text it keeps the *last* ``length`` bytes, which is what predicting the next one needs; a shorter text
    has zeros in front. Raises ``BadInput`` for a length that cannot be.
    """

    length: int

    def __post_init__(self) -> None:
        if self.length < 1:
            raise BadInput(f"A text has a length of at least 1 byte, not {self.length}.")

    @property
    def dtype(self) -> str:
        return "int32"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return (self.length,)

    def rows(self, values: Sequence[bytes]) -> Array:
        """One row a text. Raises ``TooLarge`` for too many rows."""
        rows = _empty(len(values), self)
        for row, value in zip(rows, values, strict=True):
            numbers = np.frombuffer(value[-self.length :], np.uint8)
            row[: self.length - len(numbers)] = 0
            row[self.length - len(numbers) :] = numbers
        return rows


Codec: TypeAlias = Image | Utf8


def _empty(n: int, codec: Codec) -> Array:
    size = n * math.prod(codec.shape) * 4
    if size > _MAX_BYTES:
        raise TooLarge(
            f"{n:,} rows would take {size / 2**20:,.0f} MiB, more than {_MAX_BYTES >> 20}; pass fewer at a time."
        )
    return np.empty((n, *codec.shape), codec.dtype)
