"""Where the mail of the demo's relay goes, as tables: receivers, their MX hosts, and the domains that they host.

A report names neither MX hosts nor, mostly, the recipients' domains, so each receiver here is found another way: by its
MX host, by the recipients' domain, by what its reports say of recipients, by the user's word, or from the counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dmarcview.demo.story import REPORTERS


@dataclass(frozen=True, slots=True)
class Receiver:
    """An operator of mailboxes. `domains` are those of its recipients, with weights; `share` is of the relay's mail."""

    hosts: tuple[str, ...]
    address: str  # of the MX hosts
    domains: tuple[tuple[str, float], ...]
    share: float
    reporter: str = ""  # domain of its reports; "": it sends none
    trust: str = "verified"  # of the TLS to it, as the sent log says it
    v6: bool = False  # is it reached from our IPv6 address, too?

    @property
    def name(self) -> str:
        """The organisation as a comparison names it: that of its reports, else that of its MX host."""
        return self.reporter or self.hosts[0].partition(".")[2]


SHARES = {reporter.domain: reporter.share for reporter in REPORTERS}


def _reports(reporter: str, hosts: tuple[str, ...], address: str, *domains: tuple[str, float], trust: str = "verified",
             v6: bool = False) -> Receiver:  # fmt: skip
    return Receiver(hosts, address, domains, SHARES[reporter], reporter, trust, v6)


RECEIVERS: tuple[Receiver, ...] = (
    _reports("mailbox-one.example", ("mx1.mailbox-one.example", "mx2.mailbox-one.example"), "203.0.113.101",
             ("mailbox-one.example", 0.85), ("bakery.example", 0.15), trust="mta-sts", v6=True),
    _reports("bigpost.example", ("in1.bp-mail.example", "in2.bp-mail.example"), "203.0.113.102",
             ("bigpost.example", 1.0), v6=True),
    _reports("officesuite.example", ("eu.suite-filter.example",), "203.0.113.103", ("officesuite.example", 0.5),
             ("law-office.example", 0.3), ("school.example", 0.2), trust="mta-sts"),
    _reports("freemail-north.example", ("mx00.fmn-servers.example", "mx01.fmn-servers.example"), "203.0.113.104",
             ("north.example", 1.0), trust="dane"),
    _reports("krautmail.example", ("mx.rueben-post.example",), "203.0.113.105", ("rueben.example", 1.0), trust="dane"),
    _reports("quietpost.example", ("mx.quietpost.example",), "203.0.113.106", ("quietpost.example", 1.0)),
    _reports("campus.example", ("mx.campus.example",), "203.0.113.107", ("campus.example", 0.7),
             ("students.campus.example", 0.3), v6=True),
    _reports("harbour-hosting.example", ("mx3.harbour-hosting.example",), "203.0.113.108", ("bike-club.example", 0.6),
             ("allotment.example", 0.4)),
    Receiver(("mail.village-hall.example",), "203.0.113.120", (("village-hall.example", 1.0),), 0.09),
    Receiver(("mx.old-mill.example",), "203.0.113.121", (("old-mill.example", 1.0),), 0.02, trust="encrypted"),
)  # fmt: skip

# What a user says in [reconcile] receivers. The MX of krautmail.example is left out: it is learned from the counts.
NAMED: Mapping[str, str] = {"fmn-servers.example": "freemail-north.example"}
