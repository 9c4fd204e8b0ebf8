"""Real data sets: pinned, verified, offline after set-up. ``load`` is what a reader needs."""

from .catalogue import CATALOGUE, Entry
from .fetch import cache_dir, fetch, fetch_all, is_present
from .load import Dataset, Split, load

__all__ = ["CATALOGUE", "Dataset", "Entry", "Split", "cache_dir", "fetch", "fetch_all", "is_present", "load"]
