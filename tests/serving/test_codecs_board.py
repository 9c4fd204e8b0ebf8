"""Boards: planes as the player to move sees them, and a helpful refusal of what cannot be."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimaas_helpers.errors import BadInput
from aimaas_helpers.serving.codecs import Board, Codec

BOARD = Board(height=4, width=5)
EMPTY = "...../...../...../....."


def test_the_first_plane_is_the_player_to_move() -> None:
    after_one, after_two = BOARD.rows([b"...../...../...../..x..", b"...../...../..O../..X..\n"])
    assert after_one.dtype == np.float32 and after_one.shape == (4, 5, 2)
    assert np.argwhere(after_one).tolist() == [[3, 2, 1]]  # x has moved: now it is o's turn, and x is the other
    assert np.argwhere(after_two).tolist() == [[2, 2, 1], [3, 2, 0]]


def test_lines_end_with_a_break_or_a_stroke() -> None:
    assert not BOARD.rows([EMPTY.encode(), EMPTY.replace("/", "\r\n").encode()]).any()


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "is not a board of 4 rows and 5 columns"),
        ("...../...../.....", "is not a board of 4 rows and 5 columns"),
        ("...../...../...../......", "is not a board of 4 rows and 5 columns"),
        ("...../...../...../..z..", "has the sign 'z', which is none of '.', 'x' and 'o'"),
        ("...../...../...../xx...", "has 2 x and 0 o, so somebody moved twice"),
        ("...../...../...../o....", "has 0 x and 1 o, so somebody moved twice"),
        ("...../...../..x../.....", "has a stone with nothing below it"),
        ("...../...../ooo../xxxx.", "has 4 x in a line: the game is over"),
        ("o..../ox.../ox.../ox..x", "has 4 o in a line: the game is over"),
        ("...x./..xo./.xoo./xoxo.", "has 4 x in a line: the game is over"),
        ("x..../ox.../oox../oxox.", "has 4 x in a line: the game is over"),
        ("oxoxo/oxoxo/xoxox/oxoxx", "is full: the game is over"),
    ],
)
def test_boards_that_cannot_be_are_refused(text: str, reason: str) -> None:
    with pytest.raises(BadInput) as caught:
        BOARD.rows([EMPTY.encode(), text.encode()])
    goes_on = f"; expected the board of a game that goes on, such as '{EMPTY}', where x begins."
    assert str(caught.value) == f"Row 1 {reason}{goes_on}"


def test_a_line_does_not_go_round_the_edge() -> None:
    assert BOARD.rows([b"...../...../xx.oo/oo.xx"]).any()


@given(st.lists(st.integers(0, 4), max_size=20))
def test_every_game_is_read_until_it_is_won(moves: list[int]) -> None:
    """Played on by the rules alone; four in a line are looked for in another way, in the lines' texts."""
    columns: list[str] = [""] * 5
    for column in moves:
        if len(columns[column]) == 4:
            continue
        sign = "xo"[sum(map(len, columns)) % 2]
        columns[column] += sign
        board = [column.ljust(4, ".") for column in columns]  # [5 columns][4 rows, the lowest first]
        text = "/".join("".join(column[row] for column in board) for row in (3, 2, 1, 0))
        padded = [column + " " for column in board] + [" " * 5]
        whole = "".join(padded)  # neighbours in a line stand 1, 5, 6 or 4 apart
        won = any(whole[start::step][:4] == sign * 4 for step in (1, 5, 6, 4) for start in range(len(whole)))
        if won or sum(map(len, columns)) == 20:
            with pytest.raises(BadInput, match="the game is over"):
                BOARD.rows([text.encode()])
            return
        mine, theirs = np.moveaxis(BOARD.rows([text.encode()])[0], -1, 0)
        assert mine.sum() + theirs.sum() == sum(map(len, columns))


@pytest.mark.parametrize("make", [lambda: Board(0, 5), lambda: Board(3, 3, 4), lambda: Board(4, 4, 1)])
def test_options_that_cannot_be(make: Any) -> None:
    with pytest.raises(BadInput, match="A board has at least 1 row"):
        make()


def test_it_reads_back_as_itself_and_its_example_can_be_sent() -> None:
    assert msgspec.json.decode(msgspec.json.encode(BOARD), type=Codec) == BOARD
    assert BOARD.rows([BOARD.example]).shape == (1, 4, 5, 2)
