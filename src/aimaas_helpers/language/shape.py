"""How large a language model is, and what the functions of one of its steps are called."""

from dataclasses import dataclass

BEGIN, HEAD = "begin", "head"


def block(layer: int) -> str:
    """The function after the attention of ``layer``, which counts from 0."""
    return f"after_{layer}"


@dataclass(frozen=True)
class Shape:
    """Of a model of the Llama family."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_size: int
    hidden: int  # of the feed-forward part
    vocabulary: int
    context: int  # the most tokens that it was trained to look at
    rope_base: float
    epsilon: float  # of RMSNorm

    @property
    def functions(self) -> tuple[str, ...]:
        """In their order."""
        return (BEGIN, *[block(layer) for layer in range(self.layers)], HEAD)
