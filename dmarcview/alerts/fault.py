"""What a channel says when it did not take a message."""

from __future__ import annotations


class NotTaken(Exception):
    """The message did not go out; the text says why and what to do. It never holds a secret: it is kept and shown."""


class NeverTaken(NotTaken):
    """The same, and no other try can change it."""
