"""What every codec needs: room for its rows, and a text from its bytes."""

import math

import numpy as np

from aimaas_helpers.errors import BadInput, TooLarge
from aimaas_helpers.serving.tensors import Array

_MAX_BYTES = 2**28
"""Of the rows made at a time; many small files can become very large rows."""

MAX_TEXT = 2**16
"""Bytes of one text that has to be read whole."""


def empty(n: int, shape: tuple[int, ...], dtype: str) -> Array:
    """Room for ``n`` rows of this shape. Raises ``TooLarge``."""
    size = n * math.prod(shape) * np.dtype(dtype).itemsize
    if size > _MAX_BYTES:
        raise TooLarge(
            f"{n:,} rows would take {size / 2**20:,.0f} MiB, more than {_MAX_BYTES >> 20}; pass fewer at a time."
        )
    return np.empty((n, *shape), dtype)


def decoded(value: bytes, number: int, noun: str) -> str:
    """Row ``number`` as text. Raises ``TooLarge`` and, if it is not UTF-8, ``BadInput``."""
    if len(value) > MAX_TEXT:
        raise TooLarge(f"Row {number} has {len(value):,} bytes; expected {noun} of at most {MAX_TEXT:,}.")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise BadInput(
            f"Row {number} is not text in UTF-8 (byte {value[error.start]:#04x} at position {error.start}); "
            f"expected {noun}."
        ) from None
