"""The settings of the house, by section of the TOML file: type, default, bounds and help in one place.

The reader, the command line, the reference page and the tests are all made from these classes.
`metadata` of a field: help (one sentence), kind (see kinds.py), keys (of a table: their kind, else
domains), choices, low, high,
octal (shown as 0o660), follows (no setting of its own: the one that rules it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from types import MappingProxyType
from typing import Any

from dmarcview.config import relay as relay_rules
from dmarcview_relay.settings import RelayListener, RelaySettings
from dmarcview_reports.settings import Limits
from dmarcview_smtp.settings import MODES, PROTOCOLS, DoorSettings, Listener

_LISTENER: Mapping[str, Mapping[str, Any]] = {
    "host": {"kind": "address"},
    "port": {"low": 0, "high": 65535},
    "path": {"kind": "path"},
    "path_mode": {"low": 0, "high": 0o777, "octal": True},
    "mode": {"choices": MODES},
    "protocol": {"choices": PROTOCOLS},
    "proxy_peers": {"kind": "network"},
}
# What the wings' own settings may hold; the wings say the meaning, the house checks what a person wrote.
RULES: Mapping[type, Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        **relay_rules.RULES,
        Listener: _LISTENER,
        RelayListener: {**_LISTENER, **relay_rules.RULES[RelayListener]},
        Limits: {f.name: {"low": 1} for f in fields(Limits)},
        DoorSettings: {"message_bytes": {"follows": "limits.mail_bytes"}},
    }
)


def rules(kind: type, name: str) -> Mapping[str, Any]:
    """The rules of one field: its own metadata and the table above."""
    own = next(f.metadata for f in fields(kind) if f.name == name)
    return {**own, **RULES.get(kind, {}).get(name, {})}


def settable(kind: type) -> list[Field[Any]]:
    """The fields that a person may set; the others follow another setting."""
    return [field for field in fields(kind) if "follows" not in rules(kind, field.name)]


def _f(default: Any, help: str, **rules: Any) -> Any:
    return field(default=default, metadata={"help": help, **rules})


def _m(help: str, **rules: Any) -> Any:
    return field(default_factory=dict, metadata={"help": help, **rules})


@dataclass(frozen=True, slots=True)
class Data:
    """Where everything is kept, and for how long."""

    dir: str = _f(
        "",
        "Folder of all data. Empty: `/var/lib/dmarcview` where it exists, else `./dmarcview-data`. "
        "`--data` overrides it.",
        kind="path",
    )
    url: str = _f("", "Ledger as a database URL. Empty: `ledger.sqlite` in the data folder.", kind="url")
    retention_days: int = _f(
        0, "Days that records are kept after the end of their period; 0 keeps them for ever.", low=0
    )
    domain_retention_days: Mapping[str, int] = _m("Days for single domains, which go before `retention_days`.", low=0)
    archive_days: int = _f(0, "Days that the raw mails are kept; 0 keeps them for ever.", low=0)
    refused_days: int = _f(
        0,
        "Days that refused inputs are listed, and that their raw mails and unverified ones are kept; 0: for ever.",
        low=0,
    )
    refused_mb: int = _f(
        1_000,
        "Most MB of raw mails kept that brought nothing believed: refused, unverified, for domains not watched. When "
        "there are more, the oldest leave, with what was listed of them, so that strangers cannot fill the disk. "
        "0: no bound.",
        low=0,
    )
    sent_days: int = _f(400, "Days that the sent log is kept; 0 keeps it for ever.", low=0)


@dataclass(frozen=True, slots=True)
class Domains:
    """What is yours."""

    watched: tuple[str, ...] = _f(
        (), "Your domains. Reports for others are kept apart as `unknown_domain`. Empty: every domain.", kind="domain"
    )
    own_networks: tuple[str, ...] = _f((), "Addresses and networks that send your mail.", kind="network")
    approved: tuple[str, ...] = _f((), "Services that send for you, by the name that `dmarcview sources` shows.")


@dataclass(frozen=True, slots=True)
class Receive:
    """The receiver of report mails."""

    listeners: tuple[Listener, ...] = _f((Listener(),), "Where to listen; by default only on loopback.")
    hostname: str = _f("", "Name in the greeting. Empty: the machine's own.", kind="domain")
    rua: tuple[str, ...] = _f((), "Addresses that take aggregate reports; nothing else is accepted.", kind="mailbox")
    ruf: tuple[str, ...] = _f((), "Addresses that take failure reports.", kind="mailbox")
    tlsrpt: tuple[str, ...] = _f((), "Addresses that take TLS reports.", kind="mailbox")
    certificate: str = _f("", "PEM file with the certificate chain; read again when it changes.", kind="path")
    key: str = _f("", "PEM file with the private key.", kind="path")
    subaddress: str = _f("", "What parts a detail from the name, such as `+`: rua+x@ is then rua@. Empty: off.")
    reserve_mb: int = _f(100, "Free space in MB below which mail is put off with 452.", low=0)
    door: DoorSettings = field(default_factory=DoorSettings, metadata={"help": "Limits of one session."})


@dataclass(frozen=True, slots=True)
class Trust:
    """Which report mails are believed."""

    check: bool = _f(True, "Verify SPF, DKIM and DMARC of each report mail that arrives.")
    unverified: bool = _f(False, "Count reports whose mail was not believed, too. They are shown as unverified anyway.")
    seconds: float = _f(20.0, "Longest time for one verification.", low=1, high=300)
    workers: int = _f(8, "Verifications at the same time.", low=1, high=64)
    tries: int = _f(4, "Verifications of one mail while DNS fails for the moment.", low=1, high=20)
    also_speaks_for: Mapping[str, tuple[str, ...]] = _m(
        "Domains that mail reports for organisations other than their own, added to a built-in table: the From domain "
        "(names below it count too), and the domains or organisation names that its reports may state. "
        'Such as `{"reports.example.net" = ["example.com", "Example Inc."]}`. Name only domains in which no stranger '
        "can send."
    )


@dataclass(frozen=True, slots=True)
class Reconcile:
    """What was sent beside what was reported."""

    receivers: Mapping[str, str] = _m(
        "Who reports for whom, where it is not found right: the domain of an MX host or of recipients (names below it "
        'count too), and the domain of the reporter. Such as `{"mx.example.net" = "reports.example.com"}`.',
        kind="domain",
    )


@dataclass(frozen=True, slots=True)
class Alerts:
    """Warnings, and who gets them."""

    check: bool = _f(True, "Look for incidents whenever reports have come in, and each hour.")
    threshold: float = _f(
        0.0,
        "Evidence that opens an incident of rates, as a sum of log-likelihood ratios; more: fewer and later alarms. "
        "0: 7 for up to ten series, and more as they grow.",
        low=0,
        high=100,
    )
    new_source_messages: int = _f(5, "Messages of a source never seen before that make it worth a word.", low=1)
    mail_to: tuple[str, ...] = _f(
        (), "Who gets alerts by mail: through the relay, and past it where it does not answer.", kind="strict mailbox"
    )
    mail_from: str = _f(
        "",
        "Sender of these mails; [relay] senders must allow it, else they go past the relay. Empty: `alerts@` the first "
        "domain in [relay] senders, or the first address there; else `alerts@` the first watched domain, or this host.",
        kind="strict mailbox",
    )
    channels: Mapping[str, str] = _m(
        "Other services, each by a name of yours and a file that holds its apprise URL, for the URL is a secret. "
        'Such as `{"chat" = "/etc/dmarcview/chat.url"}`.',
        kind="path",
        keys="channel",
    )
    schemes: tuple[str, ...] = _f(
        (), "Schemes of apprise URLs that may be used beside the common ones of chat and push services."
    )
    webhook: str = _f("", "URL that gets each change as signed JSON.", kind="web")
    webhook_secret_file: str = _f(
        "", "File with the key that signs it (HMAC-SHA-256): 16 bytes or more, or `whsec_` and base64.", kind="path"
    )
    digest: str = _f(
        "monday",
        "Day of the weekly summary to `mail_to`, or off.",
        choices=("off", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    )
    digest_hour: int = _f(7, "Hour of it, UTC.", low=0, high=23)
    link: str = _f("", "Address of the pages in messages. Empty: `http://` and where [dashboard] listens.", kind="web")
    dns_hours: float = _f(6.0, "Hours between two looks at what your domains publish; 0: never.", low=0, high=168)
    queue_hours: float = _f(4.0, "Hours that a mail may wait in the relay before it is a word.", low=0.01)
    certificate_days: int = _f(14, "Days before its end from which a certificate is a word.", low=0)
    incident_days: int = _f(
        400,
        "Days that ended incidents, and records that domains no longer publish, are kept; 0 keeps them for ever.",
        low=0,
    )


@dataclass(frozen=True, slots=True)
class Dns:
    """Look-ups."""

    servers: tuple[str, ...] = _f(
        (), "Resolvers to ask, `address` or `address:port`. Empty: the system's.", kind="server"
    )
    timeout: float = _f(5.0, "Seconds for one look-up.", low=0.1, high=60)
    reverse: bool = _f(True, "Look up the names of sending addresses, in the background.")


@dataclass(frozen=True, slots=True)
class Geo:
    """Country and network of an address. Without files, a table that comes with dmarcview is used."""

    country: str = _f("", "MMDB file with countries.", kind="path")
    asn: str = _f("", "MMDB file with networks.", kind="path")


@dataclass(frozen=True, slots=True)
class Dashboard:
    """The pages."""

    listen: str = _f("127.0.0.1", "Address to listen on. There is no login yet: keep it on loopback.", kind="address")
    port: int = _f(8080, "Port to listen on; 0 takes a free one and says which.", low=0, high=65535)
    prefix: str = _f("/", "Path under which a reverse proxy serves the pages.")
    title: str = _f("dmarcview", "Name in the browser's tab.")
    hosts: tuple[str, ...] = _f((), "Host names by which browsers may ask, beside loopback and `listen`.")
    threads: int = _f(4, "Requests answered at the same time.", low=1, high=64)


@dataclass(frozen=True, slots=True)
class Ingest:
    """From the spool to the store."""

    poll_seconds: float = _f(0.25, "Wait between two looks into an empty spool.", low=0.01, high=60)
    batch_mails: int = _f(500, "Most mails stored in one transaction.", low=1, high=100_000)
    tries: int = _f(3, "Crashes of the reader before a batch is read mail by mail and the culprit set aside.",
                    low=1, high=100)  # fmt: skip
    upkeep_hours: float = _f(6.0, "Hours between two rounds of compaction, sweep and retention.", low=0.01)


@dataclass(frozen=True, slots=True)
class Log:
    """What running processes write to standard error."""

    json: bool = _f(False, "One JSON object a line, for programs; else one line of text.")
    level: str = _f("info", "Least importance of what is written.", choices=("debug", "info", "warning", "error"))


@dataclass(frozen=True, slots=True)
class Config:
    """All settings. Made by `config.load`; frozen, so that one process never sees two answers."""

    data: Data = field(default_factory=Data)
    domains: Domains = field(default_factory=Domains)
    receive: Receive = field(default_factory=Receive)
    relay: RelaySettings = field(default_factory=RelaySettings)
    limits: Limits = field(default_factory=Limits)
    trust: Trust = field(default_factory=Trust)
    reconcile: Reconcile = field(default_factory=Reconcile)
    alerts: Alerts = field(default_factory=Alerts)
    dns: Dns = field(default_factory=Dns)
    geo: Geo = field(default_factory=Geo)
    dashboard: Dashboard = field(default_factory=Dashboard)
    ingest: Ingest = field(default_factory=Ingest)
    log: Log = field(default_factory=Log)
