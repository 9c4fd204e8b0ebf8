"""Real data sets: pinned, verified, offline after set-up. ``load``, ``table`` and ``fetch`` are what a reader needs."""

from .catalogue import CATALOGUE
from .entry import Entry
from .fetch import cache_dir, fetch, fetch_all, is_present
from .load import Dataset, Split, load
from .tables import table

__all__ = ["CATALOGUE", "Dataset", "Entry", "Split", "cache_dir", "fetch", "fetch_all", "is_present", "load", "table"]
