"""The model as TensorFlow functions, and those as LiteRT files whose matrices are whole numbers of eight bits.

A step of the model is cut where tokens look at each other: attention and what it remembers stay outside, in
``engine``. What lies between one layer's attention and the next one's is one function, so there are two more functions
than layers.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from .shape import BEGIN, HEAD, block
from .weights import Floats, Weights


def functions(weights: Weights) -> Iterator[tuple[str, Any]]:
    """The functions of a step, by name. All take and give rows, one a token.

    ``begin`` (x, cos, sin) and ``after_…`` (x, attended, cos, sin) give ``x`` (n, width) and ``heads``
    (n, heads + 2 × kv_heads, head_size): the rotated queries and keys and the values of the next layer, the queries
    divided by the root of their size. The last block gives ``x`` alone, and ``head`` (x) gives ``scores`` (n, tokens).
    """
    shape = weights.shape
    embedding = tf.constant(weights.array("token_embd"))  # (tokens, width), also the head's matrix
    rows = tf.TensorSpec([None, shape.width], name="x")
    attended = tf.TensorSpec([None, shape.heads * shape.head_size], name="attended")
    turns = [tf.TensorSpec([None, 1, shape.head_size], name=name) for name in ("cos", "sin")]

    def norm(x: Any, scale: Floats) -> Any:
        return x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=-1, keepdims=True) + shape.epsilon) * scale

    def ready(layer: int) -> Callable[..., dict[str, Any]]:
        """From ``x`` to what the layer's attention needs."""
        scale = weights.array(f"blk.{layer}.attn_norm")
        query, key, value = (weights.array(f"blk.{layer}.attn_{kind}") for kind in "qkv")
        matrix = tf.constant(np.hstack([query / np.sqrt(shape.head_size), key, value]).astype(np.float32))
        turned = shape.heads + shape.kv_heads
        half = shape.head_size // 2

        def run(x: Any, cos: Any, sin: Any) -> dict[str, Any]:
            heads = tf.reshape(norm(x, scale) @ matrix, [-1, turned + shape.kv_heads, shape.head_size])
            first, values = heads[:, :turned], heads[:, turned:]
            partner = tf.concat([-first[..., half:], first[..., :half]], axis=-1)
            return {"x": x, "heads": tf.concat([first * cos + partner * sin, values], axis=1)}

        return run

    def feed(layer: int) -> Callable[..., Any]:
        """From ``x`` and what the layer's attention gave to the next ``x``."""
        out, gate, up, down = (
            tf.constant(weights.array(f"blk.{layer}.{name}"))
            for name in ("attn_output", "ffn_gate", "ffn_up", "ffn_down")
        )
        scale = weights.array(f"blk.{layer}.ffn_norm")

        def run(x: Any, attended: Any) -> Any:
            x = x + attended @ out
            h = norm(x, scale)
            gated = h @ gate
            return x + (gated * tf.sigmoid(gated) * (h @ up)) @ down

        return run

    def between(after: Callable[..., Any], before: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
        return lambda x, attended, cos, sin: before(after(x, attended), cos, sin)

    # First what needs most memory to convert: TensorFlow keeps some of each.
    yield HEAD, tf.function(lambda x: {"scores": tf.matmul(x, embedding, transpose_b=True)}, input_signature=[rows])
    yield BEGIN, tf.function(ready(0), input_signature=[rows, *turns])
    for layer in range(shape.layers - 1):
        yield (
            block(layer),
            tf.function(between(feed(layer), ready(layer + 1)), input_signature=[rows, attended, *turns]),
        )
    last, scale = feed(shape.layers - 1), weights.array("output_norm")
    yield (
        block(shape.layers - 1),
        tf.function(lambda x, attended: {"x": norm(last(x, attended), scale)}, input_signature=[rows, attended]),
    )


def convert(weights: Weights) -> Iterator[tuple[str, bytes]]:
    """Each function, by name, as a LiteRT file; its matrices are int8, with a scale for each column."""
    for name, function in functions(weights):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], tf.Module())
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        yield name, converter.convert()
