"""Content by its digest, and the labels that actors give it. Knows nothing of chains or actors."""

from theater.store.content import Collected, ContentStore, Stats
from theater.store.labels import Labels

__all__ = ["Collected", "ContentStore", "Labels", "Stats"]
