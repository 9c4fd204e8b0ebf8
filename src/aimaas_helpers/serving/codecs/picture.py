"""Pictures."""

import base64
import io
from collections.abc import Sequence

import msgspec
import numpy as np
import PIL.Image
import PIL.ImageOps

from aimaas_helpers.errors import BadInput
from aimaas_helpers.serving.codecs.rows import empty
from aimaas_helpers.serving.tensors import Array

_MAX_PIXELS = 2**25
"""Of one picture; a larger one is refused unread, for a small file can hold a very large one."""

_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNgAAAAAgAB5Sfe/AAAAABJRU5ErkJggg=="
"""A PNG file of one black pixel, in Base64."""


class Image(msgspec.Struct, frozen=True, tag="image"):
    """PNG or JPEG files to float32 ``(n, height, width)``, or ``(n, height, width, channels)`` if ``channels`` is 3.

    One channel is grey, three are red, green and blue; a picture that has others is converted, transparency is
    ignored. It is turned upright as its camera noted, and stretched if it has another size; with ``crop`` it keeps its
    proportions, and what sticks out at both ends is cut off. A value is ``pixel * scale + offset``, where ``pixel`` is
    0 to 255. Raises ``BadInput`` for options that cannot be.
    """

    height: int
    width: int
    channels: int = 1
    scale: float = 1 / 255
    offset: float = 0.0
    crop: bool = False

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

    @property
    def example(self) -> bytes:
        """A value that can be sent."""
        return base64.b64decode(_PIXEL)

    def rows(self, values: Sequence[bytes]) -> Array:
        """One row a file. Raises ``BadInput`` naming the row that is no picture, ``TooLarge`` for too many rows."""
        rows = empty(len(values), self.shape, self.dtype)
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
            size = (self.width, self.height)
            if self.crop:
                image = PIL.ImageOps.fit(image, size, PIL.Image.Resampling.BILINEAR)
            elif image.size != size:
                image = image.resize(size, PIL.Image.Resampling.BILINEAR)
            return np.asarray(image)
        except Exception as error:
            raise BadInput(f"is damaged or cut short ({error})") from None
