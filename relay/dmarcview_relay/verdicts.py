"""From replies to what the queue is to do: who has it, who waits until when, who is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .envelope import MAIL, Queued, Recipient, Ticket
from .outcome import DEFERRED, DELIVERED, EXPIRED, FAILED, Attempt, Link, RemoteReply
from .queue import Settled
from .retry import next_try, returns, warns
from .settings import Schedule

Told = tuple[Recipient, RemoteReply, Link]


@dataclass(slots=True)
class Verdict:
    """All about one try of one mail."""

    settled: list[Settled] = field(default_factory=list)
    failed: list[Told] = field(default_factory=list)  # the sender is told that these got nothing
    delayed: list[Told] = field(default_factory=list)  # that these wait
    relayed: list[Told] = field(default_factory=list)  # that these are served, as far as we see

    @property
    def tells(self) -> bool:
        """Whether the sender is told of anything."""
        return bool(self.failed or self.delayed or self.relayed)

    def bury(self) -> None:
        """The sender cannot be told: those who got nothing go to the dead list."""
        failed = {recipient for recipient, _, _ in self.failed}
        self.settled = [each._replace(dead=each.dead or each.ticket.recipient in failed) for each in self.settled]


def judge(
    queued: Queued,
    tickets: Sequence[Ticket],
    replies: Sequence[RemoteReply],
    link: Link,
    *,
    now: float,
    schedule: Schedule,
    logged: Callable[[Ticket], str],
    passed_on: bool,
) -> Verdict:
    """What follows from one reply a ticket.

    `logged` writes a recipient as the sent log may hold it; `passed_on` says that the next host took over the
    duty of delivery reports (RFC 3461 section 5.2.1), so that success is not for us to tell.
    """
    verdict = Verdict()
    for ticket, reply in zip(tickets, replies, strict=True):
        outcome, next_at, warned = _outcome(queued, ticket, reply, now, schedule)
        told = (ticket.recipient, reply, link)
        dead = False
        if outcome in (FAILED, EXPIRED):
            if queued.mail.sender is None or queued.mail.kind != MAIL:
                dead = True
            elif returns(ticket):
                verdict.failed.append(told)
        elif outcome == DEFERRED and warned and not ticket.warned:
            verdict.delayed.append(told)
        elif outcome == DELIVERED and not passed_on and "SUCCESS" in ticket.recipient.notify and queued.mail.sender:
            verdict.relayed.append(told)
        verdict.settled.append(
            Settled(
                ticket,
                _attempt(queued, ticket, reply, link, now=now, outcome=outcome, recipient=logged(ticket)),
                next_at,
                warned,
                dead,
            )
        )
    return verdict


def _outcome(
    queued: Queued, ticket: Ticket, reply: RemoteReply, now: float, schedule: Schedule
) -> tuple[str, float, bool]:
    """The outcome, the time of the next try, and whether the sender has been told of a delay."""
    if reply.taken:
        return DELIVERED, 0.0, ticket.warned
    if reply.permanent:
        return FAILED, 0.0, ticket.warned
    at = next_try(ticket.tries + 1, queued.mail.accepted, now, schedule)
    if at is None:
        return EXPIRED, 0.0, ticket.warned
    return DEFERRED, at, ticket.warned or warns(queued.mail, ticket, now, schedule)


def _attempt(
    queued: Queued, ticket: Ticket, reply: RemoteReply, link: Link, *, now: float, outcome: str, recipient: str
) -> Attempt:
    mail = queued.mail
    return Attempt(
        at=now,
        queue_id=queued.id,
        message_id=mail.message_id,
        kind=mail.kind,
        user=mail.user,
        client=mail.client,
        sender=str(mail.sender) if mail.sender else "",
        from_domain=mail.from_domain,
        dkim=mail.dkim,
        recipient=recipient,
        recipient_domain=ticket.recipient.address.ascii_domain,
        tries=ticket.tries + 1,
        link=link,
        reply=reply,
        outcome=outcome,
        size=mail.size,
    )
