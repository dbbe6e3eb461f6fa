"""Whether the relay may be the fault: which open incidents are a reason to send mail about incidents past it.

One far domain that is slow is none: the relay is well, and has the mail of all others out in seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .machine import MANY, NOT_RUNNING
from .model import Finding

MANY_WAITING = 100  # recipients at many domains, from which on it is this side


def why(open_: Iterable[Finding], author: str, to: Collection[str]) -> str:
    """Why mail from this domain (A-labels) to these should not be left to the relay now; "" when it may."""
    for one in open_:
        names = {one.domain, *(member.name for member in one.members)}
        match one.kind:
            case "queue_stuck":
                whole = one.cause == NOT_RUNNING or (one.cause == MANY and one.weight >= MANY_WAITING)
                reason = whole or not names.isdisjoint(to)
            case "mail_held":  # until the DNS shows the key of the author's domain
                reason = one.domain == author
            case "key_missing":
                reason = author in names
            case _:
                reason = False
        if reason:
            return f"the relay may be the fault ({one.title})"
    return ""
