"""Load a data set that is a table, and say what was loaded."""

import lzma
import pickle
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BadInput
from .catalogue import find
from .fetch import contents

if TYPE_CHECKING:
    from pandas import DataFrame


def table(name: str, *, quiet: bool = False) -> "DataFrame":
    """Load the table ``name`` as a pandas DataFrame; what was loaded is printed, unless ``quiet``.

    ``movies`` (100,004 rows, in the order of time): ``user`` and ``item`` (int64), ``rating`` (float32, half a star to
    5), ``time`` (datetime64[s], UTC), ``title`` (str, empty if unknown), ``year`` (float32, NaN if unknown), ``genres``
    (str, joined with ``|``).

    ``lectures`` (73,421 rows, as given; all int64 but ``rating``): ``user`` is the student and ``item`` the lecturer,
    ``rating`` (float32, 1 to 5), ``studage`` the semesters studied (2, 4, 6, 8), ``lectage`` how many semesters ago the
    lecture was (1 to 6), ``service`` whether it was for another department than the lecturer's own (0, 1), ``dept``
    the department (a code from 1 to 15).

    Raises:
        NotFound: there is no such data set.
        BadInput: it is no table.
        Unavailable, Corrupt, Unwritable: as ``fetch``.
    """
    entry = find(name)
    if entry.kind != "table":
        raise BadInput(f"{entry.title}: this is no table; use {entry.call}.")
    frame = _READERS[name](_unpickled(contents(name)))
    if not quiet:
        print(
            f"{entry.title}: {len(frame):,} {entry.noun} by {frame.user.nunique():,} users of {frame.item.nunique():,} "
            f"items; columns {', '.join(frame.columns)}. Licence: {entry.licence}."
        )
    return frame


def _unpickled(content: bytes) -> Any:
    # To unpickle a file is to run it: this one's SHA-256 was checked, so it is the one that was looked at.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it was written with an older NumPy
        return pickle.loads(lzma.decompress(content))


def _movies(given: Any) -> "DataFrame":
    frame = given.rename(columns={"userId": "user", "movieId": "item", "timestamp": "time"})
    frame = frame[["user", "item", "rating", "time", "title", "year", "genres"]].sort_values("time", kind="stable")
    kinds = {"rating": np.float32, "time": "datetime64[s]", "year": np.float32}
    return frame.fillna({"title": ""}).astype(kinds).reset_index(drop=True)


def _lectures(given: Any) -> "DataFrame":
    frame = given.rename(columns={"s": "user", "d": "item", "y": "rating"})
    columns = ["user", "item", "rating", "studage", "lectage", "service", "dept"]
    return frame[columns].astype({"rating": np.float32})


_READERS = {"movies": _movies, "lectures": _lectures}
