"""Words and keys: the numbers a model was trained on, in any language, and a helpful refusal of the rest."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimaas_helpers.errors import BadInput, TooLarge
from aimaas_helpers.serving.codecs import Codec, Keys, Utf8, WordPieces, Words

WORDS = Words(("good", "not", "film", "!", "👍", "好", "not good"), length=6)


def test_words_are_numbered_from_2_in_the_order_of_the_vocabulary() -> None:
    rows = WORDS.rows([b"A GOOD film!", b"not good"])
    assert rows.dtype == np.int32
    assert rows.tolist() == [[1, 2, 4, 5, 0, 0], [3, 2, 0, 0, 0, 0]]


def test_of_a_long_text_the_first_words_count() -> None:
    assert WORDS.rows([b"film film film film film film good"]).tolist() == [[4] * 6]


def test_pairs_are_words_too() -> None:
    pairs = Words(WORDS.vocabulary, length=6, pairs=True)
    assert pairs.split("Not good, film") == ["not", "good", ",", "film", "not good", "good ,", ", film"]
    assert pairs.rows([b"not good"]).tolist() == [[3, 2, 8, 0, 0, 0]]


def test_every_script_and_sign_is_read() -> None:
    assert WORDS.split("Ｇｏｏｄ👍 naïve ПРИВЕТ — 好！") == ["good", "👍", "naïve", "привет", "—", "好", "!"]
    assert WORDS.rows(["👍好".encode()]).tolist() == [[6, 7, 0, 0, 0, 0]]
    signs = Words(("很", "好"), length=4, pattern=r"[\u4e00-\u9fff]|\w+")
    assert signs.rows(["很好 ok".encode()]).tolist() == [[2, 3, 1, 0]]


def test_a_vocabulary_is_learnt_from_texts() -> None:
    learnt = Words.learn(["b a a", "C a c"], size=2, length=5)
    assert learnt == Words(("a", "c"), length=5)
    assert Words.learn(["b a a"], size=9, length=5, pairs=True).vocabulary == ("a", "b", "b a", "a a")


@pytest.mark.parametrize(
    "value, error, reason",
    [
        (b"", BadInput, "Row 1 has no word in it; expected a text."),
        (b" \n\t ", BadInput, "Row 1 has no word in it; expected a text."),
        (b"ab\xffc", BadInput, "Row 1 is not text in UTF-8 (byte 0xff at position 2); expected a text."),
        (b"x" * 10_000_000, TooLarge, "Row 1 has 10,000,000 bytes; expected a text of at most 65,536."),
    ],
    ids=["empty", "blank", "bytes", "10 MB"],
)
def test_what_is_no_text_is_refused_by_its_row(value: bytes, error: type[Exception], reason: str) -> None:
    with pytest.raises(error) as caught:
        WORDS.rows([b"good", value])
    assert str(caught.value) == reason


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_any_bytes_become_a_row_or_a_sentence(values: list[bytes]) -> None:
    for codec in (WORDS, Keys(("1", "2"), length=3), PIECES):
        try:
            rows = codec.rows(values)
        except BadInput as error:
            assert str(error).startswith("Row ")
        else:
            assert rows.shape == (len(values), *codec.shape) and rows.min(initial=0) >= 0


PIECES = WordPieces(
    ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "un", "##like", "##ly", "cafe", "!", "好", "[", "]", "sep", "1"),
    length=16,
)


def test_words_become_pieces() -> None:
    rows = PIECES.rows(["Good unlikely CAFÉ!".encode(), "not 好好".encode()])
    assert rows.dtype == np.int32
    assert rows.tolist() == [[2, 4, 5, 6, 7, 8, 9, 3] + [0] * 8, [2, 1, 10, 10, 3] + [0] * 11]
    assert PIECES.split("unlikely, café") == ["un", "##like", "##ly", "[UNK]", "cafe"]
    assert PIECES.split("good" * 26) == ["[UNK]"]  # a word of over 100 letters


def test_rows_are_as_long_as_the_longest_text_needs() -> None:
    long = msgspec.structs.replace(PIECES, length=50)
    for words, length in [(1, 16), (14, 16), (15, 32), (31, 48), (46, 48), (47, 50), (999, 50)]:
        rows = long.rows([b"good", b"good " * words])
        assert rows.shape == (2, length)
        assert rows[0].tolist() == [2, 4, 3] + [0] * (length - 3)
        kept = min(words, 48)
        assert rows[1].tolist() == [2] + [4] * kept + [3] + [0] * (length - kept - 2)
    assert long.rows([]).shape == (0, 16)


def test_marks_in_a_text_are_text() -> None:
    assert PIECES.split("good[SEP]good") == ["good", "[", "sep", "]", "good"]


@pytest.mark.parametrize(
    "codec, text, tokens",
    [(Utf8(4), "naïve good", 11), (WORDS, "Good, not bad film! Again", 7), (PIECES, "unlikely " * 100, 302)],
)
def test_tokens_are_counted_before_the_text_is_cut(codec: Utf8 | Words | WordPieces, text: str, tokens: int) -> None:
    assert codec.count(text.encode()) == tokens


def test_what_has_no_pieces_is_refused() -> None:
    for nothing in (b"", b" \n", b"\0", "\u200b".encode()):
        with pytest.raises(BadInput, match="Row 1 has no word in it; expected a text"):
            PIECES.rows([b"good", nothing])
    with pytest.raises(BadInput, match=r"Row 0 is not text in UTF-8 \(byte 0xff at position 2\); expected a text"):
        PIECES.rows([b"ab\xffc"])
    with pytest.raises(TooLarge, match="Row 0 has 10,000,000 bytes; expected a text of at most 65,536"):
        PIECES.rows([b"x" * 10_000_000])


FILMS = Keys(("318", "tt-7", "50"), length=3, noun="film")


def test_keys_are_numbered_from_1_and_0_fills_up() -> None:
    assert FILMS.rows([b"50", b"tt-7, 318", b" 318 318\t50\n"]).tolist() == [[3, 0, 0], [2, 1, 0], [1, 1, 3]]


@pytest.mark.parametrize(
    "value, reason",
    [
        (b"318 999", "Row 0 names the film '999', which the model has not seen; it knows 3, such as '318' or 'tt-7'."),
        (b"", "Row 0 names 0; expected 1 to 3 of them, such as '318' or 'tt-7'."),
        (b"50 50 50 50", "Row 0 names 4; expected 1 to 3 of them, such as '318' or 'tt-7'."),
        (b"\xc3(", "Row 0 is not text in UTF-8 (byte 0xc3 at position 0); expected a film."),
    ],
)
def test_unknown_keys_are_refused(value: bytes, reason: str) -> None:
    with pytest.raises(BadInput) as caught:
        FILMS.rows([value])
    assert str(caught.value) == reason


def test_one_key_is_expected_where_one_goes() -> None:
    with pytest.raises(BadInput, match="Row 0 names 2; expected 1 user, such as 'ann' or 'bob'"):
        Keys(("ann", "bob"), noun="user").rows([b"ann bob"])


@pytest.mark.parametrize(
    "make, reason",
    [
        (lambda: Words((), 5), "at least 1 word, not 5, and a vocabulary"),
        (lambda: Words(("a",), 0), "at least 1 word, not 0"),
        (lambda: Words(("a",), 5, pattern="("), "no regular expression"),
        (lambda: Words(("a",), 5, pattern="(a)|b"), r"has a group; write \(\?:…\)"),
        (lambda: WordPieces(PIECES.vocabulary, 2), "at least 3 pieces, its begin and its end included; not 2"),
        (lambda: WordPieces(("[CLS]", "[SEP]", "[UNK]", "[PAD]"), 9), r"begins with '\[PAD\]' and holds"),
        (lambda: WordPieces(("[PAD]", "[CLS]", "[SEP]"), 9), r"and holds '\[CLS\]', '\[SEP\]' and '\[UNK\]'"),
        (lambda: WordPieces((), 9), r"begins with '\[PAD\]'"),
        (lambda: WordPieces((*PIECES.vocabulary, "good"), 9), "holds each piece once"),
        (lambda: Keys(()), "and a list of all"),
        (lambda: Keys(("a b",)), "without blanks and commas"),
        (lambda: Keys(("a",), length=0), "at least 1 key in a text, not 0"),
    ],
)
def test_options_that_cannot_be(make: Any, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        make()


@pytest.mark.parametrize("codec", [WORDS, FILMS, PIECES], ids=["words", "keys", "pieces"])
def test_it_reads_back_as_itself_and_its_example_can_be_sent(codec: Codec) -> None:
    codec.rows([b"50"])  # what was looked up is not part of it
    assert msgspec.json.decode(msgspec.json.encode(codec), type=Codec) == codec
    assert codec.rows([codec.example]).any()
