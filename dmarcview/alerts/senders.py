"""Who stands behind each source, as a table of the engine: what series and new senders are grouped by.

Of a source that is vouched for it is the service, else the address (of IPv6 the /64). Of an unknown one it is whom
something proves (`query.proven`).
"""

# ruff: noqa: S608 - SQL is put together from our own constants
from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from dmarcview.query import proven

if TYPE_CHECKING:
    from dmarcview.store import Store

VOUCHED = ("own", "third_party")


def group_of(source_ip: str, service: str | None) -> str:
    """The group of a sender that is vouched for: its service, else its address."""
    if service:
        return service
    address = ipaddress.ip_address(source_ip)
    return source_ip if address.version == 4 else str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


def put(store: Store, cursor: Any, domain: str | None = None) -> None:
    """Table `senders` of this cursor: domain, source_ip, class, vouched, said, named, sender.

    `said`: a label decided; `named`: `sender` is whom something proves, and not an address or nobody ("").
    """
    import pyarrow as pa

    cursor.register("classified", store.source_table(None if domain is None else (domain,), proven.NAMES))
    vouched = f"source_class in {VOUCHED}"
    wide = [ip for (ip,) in cursor.execute(
        f"select distinct source_ip from classified where {vouched} and contains(source_ip, ':') "
        "and coalesce(service, '') = ''").fetchall()]  # fmt: skip
    networks = [group_of(ip, None) for ip in wide]
    cursor.register("networks", pa.table({"source_ip": pa.array(wide, pa.string()),
                                          "network": pa.array(networks, pa.string())}))  # fmt: skip
    cursor.execute(
        f"create temp table senders as select domain, source_ip, source_class as class, {vouched} as vouched, "
        f"\"by\" = 'user' as said, case when {vouched} then coalesce(nullif(service, ''), network, source_ip) "
        f"else {proven.SENDER} end as sender, "
        f"case when {vouched} then coalesce(service, '') else {proven.SENDER} end <> '' as named "
        "from classified left join networks using (source_ip)"
    )
    cursor.unregister("classified")
    cursor.unregister("networks")
