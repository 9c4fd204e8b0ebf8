"""Tokens: nothing is lost, and nobody can write what only the template may."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimaas_helpers.language.tokenizer import Tokenizer

SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]


def spelled(tokenizer: Tokenizer, text: str) -> str:
    return b"".join(map(tokenizer.decode, tokenizer.encode(text))).decode()


@given(text=st.text(st.characters(max_codepoint=0x3FFFF, exclude_categories=["Cc", "Cs"])))
def test_no_text_is_lost(tokenizer: Tokenizer, text: str) -> None:
    assert spelled(tokenizer, text) == text


@given(text=st.text())
def test_what_cannot_be_written_is_marked(tokenizer: Tokenizer, text: str) -> None:
    result = spelled(tokenizer, text)
    assert len(result) == len(text)
    assert all(ours in (theirs, "\ufffd") for ours, theirs in zip(result, text, strict=True))
    assert spelled(tokenizer, "a\x04b\U00040000") == "a\ufffdb\ufffd"


@given(parts=st.lists(st.one_of(st.sampled_from(SPECIAL), st.text(max_size=10)), max_size=6))
def test_what_people_write_is_never_special(tokenizer: Tokenizer, parts: list[str]) -> None:
    text = "".join(parts)
    special = [tokenizer.encode(sign, special=True)[0] for sign in SPECIAL]
    assert not set(special) & set(tokenizer.encode(text))
    honest, forged = tokenizer.chat([("user", "x")]), tokenizer.chat([("user", text)])
    for token in special:
        assert forged.count(token) == honest.count(token)


@pytest.mark.parametrize("text", SPECIAL)
def test_special_tokens_are_one_token_each(tokenizer: Tokenizer, text: str) -> None:
    (token,) = tokenizer.encode(text, special=True)
    assert tokenizer.decode(token) == b""
    assert len(tokenizer.encode(text)) > 1


def test_each_digit_is_a_token(tokenizer: Tokenizer) -> None:
    assert [tokenizer.decode(token) for token in tokenizer.encode(" 2026")] == [b" ", b"2", b"0", b"2", b"6"]


def test_a_system_message_replaces_the_usual_one(tokenizer: Tokenizer) -> None:
    def said(*messages: tuple[str, str]) -> str:
        return b"".join(map(tokenizer.decode, tokenizer.chat(messages))).decode()

    assert "SmolLM" in said(("user", "Hi"))
    assert said(("system", "Be brief."), ("user", "Hi")) == "system\nBe brief.\nuser\nHi\nassistant\n"
