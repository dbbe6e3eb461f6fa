"""A small DNS server on loopback for the demo's made-up zones, so that SPF, DKIM and DMARC are really checked."""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
from collections.abc import Mapping
from types import TracebackType

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset

from dmarcview.demo import rhythm
from dmarcview.demo.mailbox import REPORTER as FRIENDS
from dmarcview.demo.story import CAMPUS_FORWARDER, DOMAINS, REPORTERS, SENDERS

TTL = 60
LARGEST_QUERY = 4096

Zones = Mapping[tuple[str, str], tuple[str, ...]]  # (absolute name in lower case, type) -> rdata texts


def quoted(text: str) -> str:
    """TXT rdata: strings of at most 255 bytes (RFC 1035 section 3.3.14)."""
    return " ".join(f'"{text[i : i + 255]}"' for i in range(0, len(text), 255))


def zones(*, client: str, dkim_key: str, selector: str, rua: str, keys: Mapping[str, str] | None = None) -> Zones:
    """The demo's world: reporters that send from `client` and sign with `dkim_key`, our domains, and host names.

    `keys` are the records of our own DKIM keys, by name; mail of their domain leaves from `client`, too.
    """
    found: dict[tuple[str, str], tuple[str, ...]] = {}

    def txt(name: str, text: str) -> None:
        found[name + ".", "TXT"] = (quoted(text),)

    for reporter in (*REPORTERS, FRIENDS):
        txt(reporter.domain, f"v=spf1 ip4:{client} -all")
        txt(f"_dmarc.{reporter.domain}", "v=DMARC1; p=reject")
        txt(f"{selector}._domainkey.{reporter.domain}", f"v=DKIM1; k=rsa; p={dkim_key}")
    for domain in DOMAINS:
        now = domain.policy(0)
        txt(f"_dmarc.{domain.name}", f"v=DMARC1; p={now.p}; sp={now.sp}; np={now.np}; rua=mailto:{rua}")
        txt(f"{domain.name}._report._dmarc.{rua.rpartition('@')[2]}", "v=DMARC1")
    for name, addresses in _covered().items():
        listed = "".join(f" ip{6 if ':' in address else 4}:{address}" for address in addresses)
        relay = f" ip4:{client}" if any(key.endswith(f"._domainkey.{name}") for key in keys or {}) else ""
        txt(name, f"v=spf1{listed}{relay} -all")
    for name in sorted({f"{s}._domainkey.{d}" for sender in SENDERS for d, s in sender.signatures}):
        edwards = name.startswith("ed")
        public = base64.b64encode(hashlib.sha256(name.encode()).digest()).decode() if edwards else dkim_key
        txt(name, f"v=DKIM1; k={'ed25519' if edwards else 'rsa'}; p={public}")
    for name, record in (keys or {}).items():
        txt(name, record)
    for address, name in hosts().items():
        pointer = dns.reversename.from_address(address).to_text()
        found[pointer, "PTR"] = (name + ".",)
        kind = "AAAA" if ":" in address else "A"
        found[name + ".", kind] = (*found.get((name + ".", kind), ()), address)
    return found


def _covered() -> dict[str, list[str]]:
    """What the SPF record of each envelope domain lists today: the addresses for which reports say that SPF passes."""
    found: dict[str, list[str]] = {}
    for sender in SENDERS:
        if sender.kind in ("own", "service"):
            listed = found.setdefault(sender.envelope_from, [])
            if all(outcome.spf == "pass" for outcome in rhythm.outcomes(sender, 0)):
                listed += sender.addresses
    return found


def answers(zones: Zones) -> dict[tuple[str, str], list[bytes]]:
    """The texts of the zones as a table of (type, name), for who asks no server."""
    return {
        (kind, name.rstrip(".")): ["".join(text.strip('"').split('" "')).encode() for text in texts]
        for (name, kind), texts in zones.items()
        if kind == "TXT"
    }


def hosts() -> dict[str, str]:
    """Names of the hosts behind the demo's addresses."""
    hosts = {
        "192.0.2.10": "mail.example.org",
        "2001:db8:10::25": "mail.example.org",
        "192.0.2.20": "web1.example.org",
        "203.0.113.210": "lists.club.example",
        "203.0.113.220": "mx1.alias-mail.example",
        "203.0.113.221": "mx2.alias-mail.example",
        "198.51.100.200": "shared7.shop.example",
    }
    hosts |= {f"192.0.2.{128 + n}": f"out{n}.example.net" for n in range(1, 9)}
    hosts |= {f"2001:db8:30::{n:x}": f"out6-{n}.example.net" for n in range(1, 5)}
    hosts |= {f"198.51.100.{n}": f"mta{n}.letterpress.example" for n in range(1, 9)}
    hosts |= {f"203.0.113.{n}": f"out{n}.workplace-mail.example" for n in range(1, 7)}
    hosts |= {f"2001:db8:20::{n:x}": f"out{n}.workplace-mail.example" for n in range(0x10, 0x1A)}
    hosts |= {f"203.0.113.{64 + n}": f"mail{n}.desk-tickets.example" for n in range(4)}
    hosts |= dict.fromkeys(CAMPUS_FORWARDER, "forward.campus.example")
    return hosts


class Server:
    """Answers from its zones over UDP in a thread of its own; use it as a context manager.

    `port` 0 takes a free one; `where` tells it. A name it does not hold is NXDOMAIN; a held name without
    that type is empty.
    """

    def __init__(self, zones: Zones, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._zones = dict(zones)
        self._names = {name for name, _ in zones}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, port))
        self.where: tuple[str, int] = self._socket.getsockname()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-dns", daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self.where)  # any datagram wakes the loop
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while True:
            packet, peer = self._socket.recvfrom(LARGEST_QUERY)
            if self._stopping.is_set():
                return
            reply = self.answer(packet)
            if reply is not None:
                self._socket.sendto(reply, peer)

    def answer(self, packet: bytes) -> bytes | None:
        """The reply to one query; None for what is no query at all."""
        try:
            query = dns.message.from_wire(packet)
        except (dns.exception.DNSException, ValueError):
            return None
        reply = dns.message.make_response(query, recursion_available=True)
        reply.flags |= dns.flags.AA
        if len(query.question) != 1:
            reply.set_rcode(dns.rcode.FORMERR)
            return reply.to_wire()
        question = query.question[0]
        name = question.name.to_text().lower()
        rdata = self._zones.get((name, dns.rdatatype.to_text(question.rdtype)))
        if rdata:
            reply.answer.append(dns.rrset.from_text(question.name, TTL, dns.rdataclass.IN, question.rdtype, *rdata))
        elif not any(held == name or held.endswith("." + name) for held in self._names):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire(max_size=65_535)
