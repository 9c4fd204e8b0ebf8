"""JSON lists to arrays, strictly: every wrong, ragged or oversized value is named by its place.

The common case is decoded by msgspec straight into nested lists of the right type; only when that fails does Python
walk the value to find out what is wrong with it.
"""

import functools
import itertools
import json
import struct
import types
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from aimaas_helpers.errors import BadInput
from aimaas_helpers.serving.tensors import KINDS, Array, Tensor, shape_text

_TYPES: dict[str, type] = {"f": float, "i": int, "u": int, "b": bool}
_CODES = {"l": "q", "L": "Q"}  # NumPy's letter, then struct's, where they differ
_MAX_RANK = 32


def to_array(text: msgspec.Raw | bytes, tensor: Tensor, what: str) -> Array:
    """The array that JSON ``text`` spells, of the tensor's type and of whatever shape the text has.

    ``what`` names the input in errors. Raises ``BadInput`` if the text is not a number, or lists of equal length down
    to numbers, that fit the type and are finite.
    """
    try:
        return pack(_decoder(tensor.dtype, len(tensor.shape)).decode(text), tensor)
    except (ValueError, OverflowError, RecursionError, struct.error):  # msgspec's errors are ValueErrors
        return _examine(text, tensor, what)


def pack(values: Any, tensor: Tensor) -> Array:
    """The array of nested lists that ``list_type`` describes: half the time of ``np.array``, which has to guess.

    Raises ``ValueError``, ``OverflowError`` or ``struct.error`` if they are ragged or a number does not fit.
    """
    kind = np.dtype(tensor.dtype)
    shape: list[int] = []
    values = [values]
    for _ in tensor.shape:
        lengths = set(map(len, values))
        if len(lengths) > 1:
            raise ValueError("ragged")
        shape += lengths
        values = list(itertools.chain.from_iterable(values))
        if not values:
            raise ValueError("empty")
    # "=": of a size that does not depend on the machine, and strict; without it 1e39 would become infinite.
    return np.frombuffer(struct.pack(f"={len(values)}{_CODES.get(kind.char, kind.char)}", *values), kind).reshape(shape)


class _Base64(msgspec.Struct, forbid_unknown_fields=True):
    b64: bytes


_bytes_decoder = msgspec.json.Decoder(str | _Base64 | list[str | _Base64])


def to_bytes(text: msgspec.Raw | bytes, what: str) -> Array:
    """Values of bytes, shape (rows,): texts, which are sent as UTF-8, or ``{"b64": …}``. Raises ``BadInput``."""
    try:
        values = _bytes_decoder.decode(text)
    except (ValueError, RecursionError) as error:
        fault = _no_text(text) or f"cannot be read ({error})"
        raise BadInput(f'{what} {fault}; expected texts or objects {{"b64": "…"}}.') from None
    values = values if isinstance(values, list) else [values]
    array = np.empty(len(values), object)
    array[:] = [value.encode() if isinstance(value, str) else value.b64 for value in values]
    return array


def _no_text(text: msgspec.Raw | bytes) -> str:
    """What stands where a text should, and where; empty if nothing does, and something else is wrong."""
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return ""
    for row, item in enumerate(value if isinstance(value, list) else [value]):
        if not isinstance(item, str | dict):
            return f"has {'a list' if isinstance(item, list) else _in_words(item)} in row {row}"
    return ""


def list_type(dtype: str, rank: int) -> Any:
    """The type of ``rank``-fold nested lists, such as ``list[list[float]]``."""
    value: Any = _TYPES[np.dtype(dtype).kind]
    for _ in range(rank):
        value = types.GenericAlias(list, (value,))
    return value


@functools.cache
def _decoder(dtype: str, rank: int) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(list_type(dtype, rank))


def _examine(text: msgspec.Raw | bytes, tensor: Tensor, what: str) -> Array:
    """Say what is wrong; where only the number of dimensions is, return zeros of the shape that was sent."""
    expected = f"expected {KINDS[np.dtype(tensor.dtype).kind]} ({tensor.dtype}) of shape {shape_text(tensor.shape)}"
    try:
        value = msgspec.json.decode(text)
    except RecursionError:
        raise BadInput(f"{what} is nested too deeply; {expected}.") from None
    except ValueError as error:
        raise BadInput(f"{what} cannot be read as JSON ({error}); {expected}.") from None
    shape = _shape(value)
    if len(shape) > _MAX_RANK:
        raise BadInput(f"{what} is nested {len(shape)} lists deep; {expected}.")
    for place, fault in _faults(value, shape, np.dtype(tensor.dtype)):
        raise BadInput(f"{what} has {fault} at {_place(place)}; {expected}.")
    if tensor.fits(shape) and 0 not in shape:  # never reached; zeros must not pass for what was sent
        raise BadInput(f"{what} cannot be read; {expected}.")
    return np.broadcast_to(np.zeros((), tensor.dtype), shape)


def _shape(value: object) -> tuple[int, ...]:
    """The lengths of the first list, of its first list, and so on."""
    lengths = []
    while isinstance(value, list):
        lengths.append(len(value))
        value = value[0] if value else None
    return tuple(lengths)


def _faults(
    value: object, shape: Sequence[int], kind: np.dtype[Any], place: tuple[int, ...] = ()
) -> Iterator[tuple[tuple[int, ...], str]]:
    """Every place that breaks the regular shape or the type, first to last."""
    if isinstance(value, list):
        if not shape:
            yield place, f"a list of {len(value)} where others before it have single values"
        elif len(value) != shape[0]:
            yield place, f"a list of {len(value)} where others before it have lists of {shape[0]}"
        else:
            for index, item in enumerate(value):
                yield from _faults(item, shape[1:], kind, (*place, index))
    elif shape:
        yield place, f"{_in_words(value)} where others before it have lists of {shape[0]}"
    elif not _is_of(kind, value):
        yield place, _in_words(value)


def _is_of(kind: np.dtype[Any], value: object) -> bool:
    if kind.kind == "b" or isinstance(value, bool):
        return kind.kind == "b" and isinstance(value, bool)
    if kind.kind == "f":
        return isinstance(value, int | float) and abs(value) <= float(np.finfo(kind).max)
    return isinstance(value, int) and int(np.iinfo(kind).min) <= value <= int(np.iinfo(kind).max)


def _in_words(value: object) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, dict):
        return 'a {"b64": …} value, which is for binary inputs,' if set(value) == {"b64"} else "an object"
    return f"the number {str(value)[:40]}"


def _place(indices: Sequence[int]) -> str:
    """``row 1, position [1][3]``."""
    position = "".join(f"[{index}]" for index in indices)
    return f"row {indices[0]}, position {position}" if position else "the top"
