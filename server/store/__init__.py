"""The durable table of jobs: what a store must do."""

from server.store.protocol import (
    Claimed,
    Compose,
    Found,
    IdTaken,
    KeyConflict,
    Message,
    Moment,
    Outcome,
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
    "Found",
    "IdTaken",
    "KeyConflict",
    "Message",
    "Moment",
    "Outcome",
    "QueueFull",
    "Recovered",
    "Search",
    "Store",
    "StoreClosed",
    "StoreFailed",
    "StoreUnusable",
]
