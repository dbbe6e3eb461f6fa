"""The tables of the ledger, portable between SQLite and PostgreSQL.

Times are whole seconds UTC. `items` is what came in, `reports` what it held, `bodies` the rows not yet in a file,
`files` the live record files; a file that is not in the list does not exist. `sent` is what the relay tried, `probes`
what it sent to learn whether a receiver reports it. `incidents` is what alerts remember, `mutes` what a person does not
want to hear of, `notices` the messages about it that go out, `records_seen` what domains published.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

FORMAT = 6

metadata = MetaData()
Id = BigInteger().with_variant(Integer, "sqlite")

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
COUNTERS = (
    "version",
    "layout",
    "classes",
    "classified",
    "item",
    "report",
    "file",
    "row",
    "epoch",
    "sent",
    "alerts",
    "judged",
)

items = Table(
    "items",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("client", Text, nullable=False),
    Column("helo", Text, nullable=False),
    Column("mail_from", Text, nullable=False),
    Column("rcpt_to", Text, nullable=False),  # JSON list
    Column("tls", Text, nullable=False),
    Column("auth", Text, nullable=False),
    Column("auth_detail", Text, nullable=False),
    Column("raw_hash", Text, nullable=False),
    Column("raw_size", BigInteger, nullable=False),
    Column("segment", Text),  # null: the raw bytes are not kept
    Column("start", BigInteger),
    Column("length", BigInteger),
    Column("reports", Integer, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("messages", BigInteger, nullable=False),
    Column("duplicates", Integer, nullable=False),
    Column("conflicts", Integer, nullable=False),
    Column("others", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    UniqueConstraint("channel", "name", "raw_hash"),
    Index("items_raw", "raw_hash"),
    Index("items_received", "received"),
)
reports = Table(
    "reports",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("report_key", Text, nullable=False, unique=True),
    Column("identity", Text, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("item_id", Id, ForeignKey("items.id"), nullable=False),
    Column("shelf", Text, nullable=False),  # main, doubt or apart
    Column("apart", Text),  # why it does not count: conflict, unknown_domain
    Column("moved", Boolean, nullable=False),  # its rows lie in a file of another shelf, or with another auth
    Column("version", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("auth", Text, nullable=False),
    Column("submitter", Text, nullable=False),
    Column("org_name", Text),
    Column("org_email", Text),
    Column("report_id", Text, nullable=False),
    Column("begin", BigInteger, nullable=False),
    Column("end", BigInteger, nullable=False),
    Column("schema", Text, nullable=False),
    Column("generator", Text),
    Column("domain", Text, nullable=False),
    Column("adkim", Text),
    Column("aspf", Text),
    Column("p", Text),
    Column("sp", Text),
    Column("np", Text),
    Column("pct", Integer),
    Column("fo", Text),
    Column("testing", Boolean),
    Column("discovery_method", Text),
    Column("errors", Text, nullable=False),  # JSON list
    Column("truncated", Boolean, nullable=False),
    Column("warnings", Text, nullable=False),  # JSON list of [code, where]
    Column("warning_counts", Text, nullable=False),  # JSON object
    Column("records", BigInteger, nullable=False),
    Column("messages", BigInteger, nullable=False),
    Column("dmarc_pass", BigInteger, nullable=False),
    Column("duplicates", Integer, nullable=False),
    UniqueConstraint("identity", "content_hash"),
    Index("reports_item", "item_id"),
    Index("reports_end", "shelf", "end", "begin", "domain", "submitter", "records", "messages", "auth", "received"),
    Index("reports_domain", "domain", "shelf", "end", "begin", "records"),
    Index("reports_apart", "shelf", "apart", "received"),
    Index("reports_version", "version"),
    Index("reports_moved", "id", sqlite_where=text("moved"), postgresql_where=text("moved")),
)
bodies = Table(
    "bodies",
    metadata,
    Column("report_id", Id, ForeignKey("reports.id"), primary_key=True, autoincrement=False),
    Column("records", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
files = Table(
    "files",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("path", Text, nullable=False, unique=True),  # below records/, without an ending
    Column("shelf", Text, nullable=False),
    Column("month", Text, nullable=False),  # YYYY-MM of begin
    Column("rows", BigInteger, nullable=False),
    Column("reports", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("begin", BigInteger, nullable=False),  # earliest begin
    Column("end", BigInteger, nullable=False),  # latest end
    Column("news", BigInteger, nullable=False),  # newest version of a report within
    Column("created", BigInteger, nullable=False),
)
gone = Table(
    "gone",
    metadata,
    Column("path", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
)
refusals = Table(
    "refusals",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("item_id", Id, ForeignKey("items.id"), nullable=False),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("member", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("refusals_item", "item_id"),
    Index("refusals_at", "at"),
)
others = Table(
    "others",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("item_id", Id, ForeignKey("items.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("content_hash", Text, nullable=False, unique=True),
    Column("content", LargeBinary, nullable=False),  # zstd
    Column("at", BigInteger, nullable=False),
    Column("duplicates", Integer, nullable=False),
)
labels = Table(
    "labels",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("domain", Text, nullable=False),  # "" is every domain
    Column("scope", Text, nullable=False),  # ip, network, service, asn, dkim
    Column("value", Text, nullable=False),
    Column("source_class", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    UniqueConstraint("domain", "scope", "value"),
)
source_blocks = Table(
    "source_blocks",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),  # newer blocks win over older ones
    Column("part", Integer, nullable=False),
    Column("changed", BigInteger, nullable=False),  # newest counter `classes` at which a class within changed
    Column("rows", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),  # Arrow stream, see blocks.py
    Index("source_blocks_part", "part"),
)
addresses = Table(
    "addresses",
    metadata,
    Column("source_ip", Text, primary_key=True),
    Column("reverse_dns", Text),  # null: no confirmed name
    Column("expires", BigInteger, nullable=False),
)
sent = Table(
    "sent",
    metadata,
    Column("instance", Text, primary_key=True),  # the relay's queue
    Column("number", Id, primary_key=True, autoincrement=False),  # of the row there
    Column("at", BigInteger, nullable=False),
    Column("queue_id", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("kind", Text, nullable=False),  # mail, bounce, warning
    Column("user", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("from_domain", Text, nullable=False),
    Column("dkim", Text, nullable=False),  # JSON list of [d, s]
    Column("dkim_domain", Text, nullable=False),  # of the first signature
    Column("dkim_selector", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("recipient_domain", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("tls_version", Text, nullable=False),
    Column("tls_cipher", Text, nullable=False),
    Column("tls_trust", Text, nullable=False),
    Column("code", Integer, nullable=False),
    Column("enhanced", Text, nullable=False),
    Column("reply", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("said", Boolean, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    # the outcome stands in them so that totals need no row
    Index("sent_at", "at", "outcome"),
    Index("sent_from", "from_domain", "at", "outcome"),
    Index("sent_source", "from_domain", "source", "outcome", "at"),
    Index("sent_to", "recipient_domain", "at", "outcome"),
    Index("sent_queue", "queue_id"),
    Index("sent_message", "message_id"),
    Index("sent_sender", "sender", "at"),
)
probes = Table(
    "probes",
    metadata,
    Column("tag", Text, primary_key=True),
    Column("queue_id", Text, nullable=False),  # "" until the relay has taken it
    Column("at", BigInteger, nullable=False),  # made, and handed to the relay
    Column("sender", Text, nullable=False),
    Column("from_domain", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("recipient_domain", Text, nullable=False),
    Index("probes_at", "at"),
)
incidents = Table(
    "incidents",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("fingerprint", Text, nullable=False),  # of its cause: the same cause comes back under the same
    Column("kind", Text, nullable=False),  # of alerts.words.KINDS
    Column("domain", Text, nullable=False),  # "" is all, or none
    Column("level", Text, nullable=False),  # act, watch
    Column("first_day", BigInteger, nullable=False),  # first event day, its first second
    Column("last_day", BigInteger, nullable=False),
    Column("known", BigInteger, nullable=False),  # when it was found
    Column("changed", BigInteger, nullable=False),
    Column("ended", BigInteger),  # null: open
    Column("outcome", Text, nullable=False),  # "" while open; cleared, usual, taken_up (another tells it)
    Column("weight", BigInteger, nullable=False),  # by which it worsens: messages, or what the kind counts
    Column("body", Text, nullable=False),  # JSON of alerts.model.Finding
    Column("acked", BigInteger),
    Column("acked_by", Text, nullable=False),
    Column("note", Text, nullable=False),
    Index("incidents_open", "fingerprint", sqlite_where=text("ended is null"), postgresql_where=text("ended is null"),
          unique=True),
    Index("incidents_cause", "fingerprint"),
    Index("incidents_known", "known"),
    Index("incidents_kind", "kind", "domain", "first_day"),
)  # fmt: skip
mutes = Table(
    "mutes",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("until", BigInteger, nullable=False),
    Column("author", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
)
notices = Table(
    "notices",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("incident_id", Id),  # null: a digest or a test
    Column("kind", Text, nullable=False),  # opened, worse, cleared, digest, test
    Column("channel", Text, nullable=False),  # its name in the settings, never its secret
    Column("at", BigInteger, nullable=False),  # asked for
    Column("weight", BigInteger, nullable=False),  # of the incident then
    Column("tries", Integer, nullable=False),
    Column("due", BigInteger, nullable=False),  # next try
    Column("done", BigInteger),  # when the channel took it, or it was given up
    Column("error", Text, nullable=False),  # of the last try; "" when it was taken
    Index("notices_due", "done", "due"),
    Index("notices_incident", "incident_id", "at"),
)
records_seen = Table(
    "records_seen",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("domain", Text, nullable=False),
    Column("kind", Text, nullable=False),  # of records_seen.KINDS
    Column("name", Text, nullable=False),  # in the DNS
    Column("value", Text, nullable=False),  # "" is: no such record
    Column("first", BigInteger, nullable=False),  # first look that found it
    Column("last", BigInteger, nullable=False),  # last one
    Index("records_seen_name", "name", "last"),
    Index("records_seen_domain", "domain", "first"),
)
