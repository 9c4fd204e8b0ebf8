"""The model against llama.cpp's, whose numbers `make reference` stored, and with eight bits against itself."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aimaas_helpers import data
from aimaas_helpers.language import graph
from aimaas_helpers.language.engine import Engine, Piece
from aimaas_helpers.language.tokenizer import Tokenizer
from aimaas_helpers.language.weights import Weights

KNOWN = json.loads((Path(__file__).parent / "reference.json").read_text(encoding="utf-8"))["texts"]


@pytest.fixture(scope="module")
def exact(weights: Weights) -> Engine:
    """The same functions in float32, as they are before they become LiteRT files."""
    embedding = weights.array("token_embd")
    return Engine(weights.shape, dict(graph.functions(weights)), lambda tokens: embedding[tokens], slots=1, context=256)


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known["text"][:20])
def test_scores_are_those_of_llama_cpp(exact: Engine, known: dict[str, Any]) -> None:
    scores = exact.step([Piece(0, 0, known["tokens"])], every=True)
    assert scores.argmax(axis=-1).tolist() == known["likeliest"]
    np.testing.assert_allclose(scores[-1, known["top"]], known["logits"], atol=1e-3)
    np.testing.assert_allclose(scores[-1, ::4096], known["every"], atol=1e-3)


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known["text"][:20])
def test_tokens_are_those_of_llama_cpp(tokenizer: Tokenizer, known: dict[str, Any]) -> None:
    assert tokenizer.encode(known["text"], special=True) == known["tokens"]


def test_the_chat_template_is_the_one_of_the_file(tokenizer: Tokenizer) -> None:
    (chat,) = (known for known in KNOWN if known["text"].startswith("<|im_start|>"))
    assert tokenizer.chat([("user", "What is the capital of France?")]) == chat["tokens"]


def test_a_cache_changes_nothing(exact: Engine) -> None:
    tokens = KNOWN[2]["tokens"]
    whole = exact.step([Piece(0, 0, tokens)], every=True)
    one_by_one = [exact.step([Piece(0, place, [token])])[0] for place, token in enumerate(tokens)]
    np.testing.assert_allclose(one_by_one, whole, atol=1e-3)


def test_eight_bits_cost_little(exact: Engine, parts: tuple, tokenizer: Tokenizer) -> None:  # type: ignore[type-arg]
    play = data.load("shakespeare", quiet=True).test.x[0]
    tokens = tokenizer.encode(play)[100:356]
    losses = {}
    for name, engine in (("float32", exact), ("int8", Engine(*parts, slots=1, context=256))):
        scores = engine.step([Piece(0, 0, tokens)], every=True)[:-1].astype(np.float64)
        scores -= np.log(np.exp(scores - scores.max(-1, keepdims=True)).sum(-1, keepdims=True)) + scores.max(
            -1, keepdims=True
        )
        losses[name] = -scores[np.arange(255), tokens[1:]].mean()
    assert losses["float32"] < 4.5 < np.log(49_152)  # it has learnt English, though not this play by heart
    assert abs(losses["int8"] - losses["float32"]) < 0.2, losses
