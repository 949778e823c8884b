"""Stores: where jobs and the webhooks about them are kept."""

from server.store.protocol import (
    Claimed,
    Compose,
    Ending,
    Found,
    IdTaken,
    KeyConflict,
    Message,
    Moment,
    QueueFull,
    Recovered,
    Search,
    Store,
    StoreClosed,
    StoreFailed,
    StoreUnusable,
)

__all__ = [
    "Claimed",
    "Compose",
    "Ending",
    "Found",
    "IdTaken",
    "KeyConflict",
    "Message",
    "Moment",
    "QueueFull",
    "Recovered",
    "Search",
    "Store",
    "StoreClosed",
    "StoreFailed",
    "StoreUnusable",
]
