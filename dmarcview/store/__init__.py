"""The store: rows at rest, and the only place that knows SQL engines."""

from .errors import StoreBusy, StoreDamaged, StoreError, StoreFormat, StoreFull
from .facts import Label, Named, NamedAddress, SourceFacts, SourceRow
from .store import Store
from .upkeep import Retention

__all__ = [
    "Label",
    "Named",
    "NamedAddress",
    "Retention",
    "SourceFacts",
    "SourceRow",
    "Store",
    "StoreBusy",
    "StoreDamaged",
    "StoreError",
    "StoreFormat",
    "StoreFull",
]
