"""A language model at work: the tokens of many texts in one step, and what their attention remembers.

The functions of ``graph`` do all that concerns one token alone. Here stands what joins tokens: the rotation of each
place, the cache of keys and values, and attention. Every text has its own part of the cache, a *slot*. Attention is
computed text by text, and the functions give each row the same numbers whatever other rows they are given, so what
is written in one slot does not depend, to the last bit, on what happens in the others.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from .shape import BEGIN, HEAD, Shape, block

Floats = NDArray[np.float32]
Call = Callable[..., Mapping[str, Any]]
Embed = Callable[[NDArray[np.int32]], Floats]

_LEAST = 256  # places that a slot's cache has room for at first


class Piece(NamedTuple):
    """Tokens to read into a slot from a place on, all before which is in the slot already."""

    slot: int
    start: int
    tokens: Sequence[int]


class Engine:
    """``calls`` are the functions of ``graph``, ``embed`` gives tokens (n,) their vectors (n, width).

    Holds at most ``slots`` texts of ``context`` tokens each.
    """

    def __init__(self, shape: Shape, calls: Mapping[str, Call], embed: Embed, *, slots: int, context: int) -> None:
        self.shape = shape
        self.slots = slots
        self.context = min(context, shape.context)
        self._calls = calls
        self._embed = embed
        self._group = shape.heads // shape.kv_heads  # queries that share a head of keys and values
        # For each slot (layers, 2 × kv_heads, places, head_size), keys first, then values; it grows with its texts.
        empty = np.empty((shape.layers, 2 * shape.kv_heads, 0, shape.head_size), np.float32)
        self._caches = [empty] * slots
        angles = np.arange(self.context)[:, None] * shape.rope_base ** -np.linspace(
            0, 1, shape.head_size // 2, endpoint=False
        )
        angles = np.concatenate([angles, angles], axis=-1)[:, None]  # (places, 1, head_size)
        self._cos, self._sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

    def step(self, pieces: Sequence[Piece], *, every: bool = False) -> Floats:
        """Scores of the token after each piece, shape (pieces, tokens); after *every* token of each, if asked."""
        count = sum(len(piece.tokens) for piece in pieces)
        # Rows that fill up to a usual number are computed and forgotten.
        tokens, places = np.zeros((2, _rows(count)), np.int32)
        tokens[:count] = np.concatenate([piece.tokens for piece in pieces])
        places[:count] = np.concatenate([piece.start + np.arange(len(piece.tokens)) for piece in pieces])
        turns = {"cos": self._cos[places], "sin": self._sin[places]}
        masks = [self._mask(piece) for piece in pieces]
        for piece in pieces:
            self.reserve(piece.slot, piece.start + len(piece.tokens))
        last = self.shape.layers - 1
        out = self._calls[BEGIN](x=self._embed(tokens), **turns)
        for layer in range(last):
            attended = self._attend(layer, np.asarray(out["heads"]), pieces, masks)
            out = self._calls[block(layer)](x=out["x"], attended=attended, **turns)
        attended = self._attend(last, np.asarray(out["heads"]), pieces, masks)
        x = np.asarray(self._calls[block(last)](x=out["x"], attended=attended)["x"])
        ends = np.arange(count) if every else np.cumsum([len(piece.tokens) for piece in pieces]) - 1
        wanted = np.zeros(_rows(len(ends)), np.int32)
        wanted[: len(ends)] = ends
        scores: Floats = np.asarray(self._calls[HEAD](x=x[wanted])["scores"])[: len(ends)]
        return scores

    def copy(self, source: int, target: int, start: int, stop: int) -> None:
        """What ``source`` remembers of the places from ``start`` to ``stop``, for ``target`` too."""
        self.reserve(target, stop)
        self._caches[target][:, :, start:stop] = self._caches[source][:, :, start:stop]

    def reserve(self, slot: int, places: int) -> None:
        """Make room in a slot for so many tokens; what it remembers stays. Steps do this by themselves."""
        old = self._caches[slot]
        if places > old.shape[2]:
            room = min(self.context, max(_LEAST, 1 << (places - 1).bit_length()))
            self._caches[slot] = np.zeros((*old.shape[:2], room, old.shape[3]), np.float32)
            self._caches[slot][:, :, : old.shape[2]] = old

    def _mask(self, piece: Piece) -> Floats | None:
        """What hides later tokens: 0 or -inf for each query and place, shape (queries, places)."""
        count = len(piece.tokens)
        if count == 1:
            return None
        places = np.arange(piece.start + count)
        future = places > places[piece.start :, None]
        return np.repeat(np.where(future, np.float32(-np.inf), np.float32(0)), self._group, axis=0)

    def _attend(self, layer: int, heads: Floats, pieces: Sequence[Piece], masks: Sequence[Floats | None]) -> Floats:
        """Each query's mean of the values it looks at, shape (rows, heads × head_size)."""
        shape = self.shape
        queries, news = heads[:, : shape.heads], heads[:, shape.heads :]
        queries = queries.reshape(len(heads), shape.kv_heads, self._group, shape.head_size)
        attended = np.zeros_like(queries)
        end_row = 0
        for (slot, start, tokens), mask in zip(pieces, masks, strict=True):
            rows, end = slice(end_row, end_row + len(tokens)), start + len(tokens)
            cache = self._caches[slot][layer, :, :end]  # (2 × kv_heads, places, head_size)
            cache[:, start:] = news[rows].swapaxes(0, 1)
            keys, values = cache[: shape.kv_heads], cache[shape.kv_heads :]
            # Queries that share a head of keys and values stand together: (kv_heads, tokens × group, head_size).
            query = queries[rows].swapaxes(0, 1).reshape(shape.kv_heads, -1, shape.head_size)
            if mask is None:  # few queries: this way round OpenBLAS is three times as fast once there are many places
                weights = (keys @ query.swapaxes(1, 2)).swapaxes(1, 2).copy()
            else:
                weights = query @ keys.swapaxes(1, 2)
                weights += mask
            weights -= weights.max(axis=-1, keepdims=True)
            np.exp(weights, out=weights)
            mean = weights @ values
            mean /= weights.sum(axis=-1, keepdims=True)
            attended[rows] = mean.reshape(shape.kv_heads, len(tokens), self._group, -1).swapaxes(0, 1)
            end_row = rows.stop
        return attended.reshape(len(heads), -1)


class _Function:
    """A LiteRT file as a function, mapped into memory rather than read; ``threads`` is how many cores it uses.

    This is the interpreter's own signature runner in short: thirty functions are called for each token, and what the
    runner does around them would take a tenth of the time.
    """

    def __init__(self, file: Path, threads: int) -> None:
        self.interpreter = Interpreter(model_path=str(file), num_threads=threads)
        signature = self.interpreter.get_signature_runner()
        inputs, outputs = signature.get_input_details(), signature.get_output_details()
        del signature  # the interpreter refuses to run while anything else refers to its inside
        self._inputs = {name: int(details["index"]) for name, details in inputs.items()}
        self._outputs = {name: int(details["index"]) for name, details in outputs.items()}
        self._rows = -1

    def __call__(self, **inputs: Any) -> dict[str, Any]:
        rows = len(inputs["x"])
        if rows != self._rows:
            self._rows = -1  # until every tensor has its new size
            for name, index in self._inputs.items():
                self.interpreter.resize_tensor_input(index, inputs[name].shape)
            self.interpreter.allocate_tensors()
            self._rows = rows
        for name, index in self._inputs.items():
            self.interpreter.set_tensor(index, inputs[name])
        self.interpreter.invoke()
        return {name: self.interpreter.get_tensor(index) for name, index in self._outputs.items()}


def _rows(count: int) -> int:
    """The usual number of rows that is not below ``count``: LiteRT has to prepare anew whenever it changes."""
    return 1 << (count - 1).bit_length() if count <= 8 else -(-count // 8) * 8


def open_litert(folder: Path, shape: Shape, *, threads: int) -> tuple[dict[str, Call], Embed]:
    """The functions as LiteRT files in ``folder``, mapped into memory rather than read, and the head's matrix."""
    functions = {name: _Function(folder / f"{name}.tflite", threads) for name in shape.functions}
    head = functions[HEAD].interpreter
    (matrix,) = (
        tensor
        for tensor in head.get_tensor_details()
        if tensor["dtype"] == np.int8 and tuple(tensor["shape"]) == (shape.vocabulary, shape.width)
    )
    table, scales = head.get_tensor(matrix["index"]), matrix["quantization_parameters"]["scales"]

    def embed(tokens: NDArray[np.int32]) -> Floats:
        rows: Floats = table[tokens] * scales[tokens, None]
        return rows

    return dict(functions), embed
