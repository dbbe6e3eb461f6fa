"""The kinds of incidents: what each means, the first thing to check, and what will clear it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

ACT, WATCH = "act", "watch"


class Kind(NamedTuple):
    """One kind: how grave, what `weight` counts, its title, what it means, what to check first, what clears it.

    The title takes `{domain}` and `{cause}`.
    """

    level: str
    counts: str
    title: str
    meaning: str
    check: str
    clears: str


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        # what only a system that also sent the mail can know
        "signed_broken": Kind(
            ACT, "messages", "Signed by us and reported with a bad signature: {cause}",
            "The relay signed these, and receivers found no good signature of ours.",
            "`dmarcview dns check {domain}`: is the key of this selector published, whole, and the one that signs? If "
            "so, something on the way changes the mail.",
            "Two complete days without such a report.",
        ),
        "not_sent": Kind(
            ACT, "messages", "Reported from our address, never sent by the relay: {cause}",
            "Receivers name an address of yours for mail that is not in the relay's log.",
            "Which other program or host sends from this address? Point it at the relay, or find who got in.",
            "Two weeks without such a report.",
        ),
        "bypass": Kind(
            WATCH, "messages", "A host of yours goes around the relay: {cause}",
            "An address of yours sent these, and the relay's log does not have them.",
            "Which host is it? Point its mail at the relay, or acknowledge that it sends by itself.",
            "Two weeks without such mail.",
        ),
        # rates, by the method of docs/adr/0007
        "dmarc_failing": Kind(
            ACT, "messages", "Mail of {domain} fails DMARC: {cause}",
            "Mail of senders that you vouch for fails DMARC clearly more often than it used to.",
            "`dmarcview sources --domain {domain}`: which of SPF and DKIM no longer passes, and since when?",
            "The share of failures back at its usual level on two complete days.",
        ),
        "spf_failing": Kind(
            WATCH, "messages", "SPF fails for mail of {domain}: {cause}",
            "Mail of senders that you vouch for passes SPF clearly less often than it used to.",
            "`dmarcview dns check {domain}`: is the address still in the SPF record of the envelope sender's domain?",
            "The share of failures back at its usual level on two complete days.",
        ),
        "dkim_failing": Kind(
            WATCH, "messages", "DKIM fails for mail of {domain}: {cause}",
            "Mail of senders that you vouch for passes DKIM clearly less often than it used to.",
            "`dmarcview dns check {domain}`: is the key of each selector published and whole?",
            "The share of failures back at its usual level on two complete days.",
        ),
        "forged": Kind(
            WATCH, "messages", "A wave of forged mail in the name of {domain}: {cause}",
            "Unknown sources send far more in your name than they use to.",
            "Is any of it delivered? Policy quarantine or reject stops it; nothing of yours is wrong.",
            "The volume back at its usual level on two complete days.",
        ),
        "new_source": Kind(
            WATCH, "messages", "A new sender in the name of {domain}: {cause}",
            "A source that was never seen before sends in your name.",
            "Do you know it? `dmarcview label set` names it; if not, a forger, or a service that somebody signed up "
            "for.",
            "A label that says what it is, or two weeks.",
        ),
        "reporter_silent": Kind(
            WATCH, "days without its report", "{cause} sends no reports on {domain} any more",
            "A receiver that used to report is overdue beyond its own habit.",
            "`dmarcview refused` and `dmarcview doctor`: are its mails refused? Is the rua address in the record still "
            "yours?",
            "Its next report.",
        ),
        # what the DNS says
        "spf_lookups": Kind(
            ACT, "look-ups", "The SPF record of {domain} is broken: {cause}",
            "Receivers give up on it (RFC 7208 sections 2.6.7 and 4.6.4), so SPF fails for all mail.",
            "`dmarcview dns check {domain}` walks the record and names what is wrong; `dmarcview dns history {domain}` "
            "says what changed.",
            "Two looks that find it in order.",
        ),
        "key_missing": Kind(
            ACT, "days", "The key is not in the DNS: {cause}",
            "Mail is signed, or was reported as signed, with a selector whose key receivers do not find.",
            "`dmarcview dns show {domain}` prints the record of a key of the relay; that of a service stands in its "
            "settings.",
            "Two looks that find the key, or reports that name the selector no more.",
        ),
        "record_changed": Kind(
            WATCH, "changes", "A DNS record changed: {cause}",
            "What the domain publishes is not what it published before.",
            "Was it you, and does mail still pass? Then acknowledge this. If not, who can edit the zone? `dmarcview "
            "dns history {domain}` has both records.",
            "A week without another change.",
        ),
        "record_gone": Kind(
            ACT, "days", "A DNS record is gone: {cause}",
            "The domain published it before, and it cannot be found any more.",
            "`dmarcview dns check {domain}` prints what should stand there.",
            "Two looks that find it.",
        ),
        # our own machine
        "intake_fault": Kind(
            ACT, "mails", "Reports are not taken in: {cause}",
            "Report mails come, or should, and do not become rows.",
            "`dmarcview doctor`, then `dmarcview refused`.",
            "The fault gone at the next look.",
        ),
        "queue_stuck": Kind(
            ACT, "recipients", "Mail waits in the relay: {cause}",
            "Mail that the relay took has not left for hours.",
            "`dmarcview queue list` has the last reply of each far host.",
            "A queue that moves again.",
        ),
        "mail_held": Kind(
            ACT, "recipients", "The relay holds mail back: {cause}",
            "Mail that was taken is not sent until somebody, or the DNS, lets it go.",
            "`dmarcview queue list --state held` (or dead) says why; `queue release` lets it go.",
            "No held mail.",
        ),
        "certificate": Kind(
            ACT, "days overdue", "A certificate needs to be renewed: {cause}",
            "Once it has ended, others refuse to talk to us by TLS.",
            "Does what renews it still run? The new file is read by itself.",
            "A certificate that lasts.",
        ),
    }
)  # fmt: skip
MECHANISMS = ("dmarc", "spf", "dkim")
