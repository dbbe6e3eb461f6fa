"""Which hosts take mail for a domain, and which are never connected to."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from pathlib import Path

import pytest
from relay_servers import CONTENT, FarHost, Table, courier, deliver, far, world

from dmarcview_relay.deliver import NotConnected
from dmarcview_relay.dns import DnsFailure
from dmarcview_relay.mx import Host, NoMail, Own, hosts, is_private, smarthost
from dmarcview_relay.outcome import RemoteReply
from dmarcview_relay.routes import RouteError, hop, target
from dmarcview_relay.settings import Care, Delivery, RelaySettings, Route

PUBLIC = Delivery()
V4, V6 = "8.8.8.8", "2600::1"  # public for ipaddress; nothing is sent there


def found(
    table: Table,
    delivery: Delivery = PUBLIC,
    *,
    domain: str = "far.test",
    hostname: str = "relay.test",
    own: Own = tuple,
) -> list[Host]:
    return asyncio.run(hosts(domain, table, delivery, hostname=hostname, own=own))


def no_mail(table: Table, delivery: Delivery = PUBLIC, **more: str) -> RemoteReply:
    with pytest.raises(NoMail) as caught:
        found(table, delivery, **more)  # type: ignore[arg-type]
    assert not caught.value.reply.said
    return caught.value.reply


def mx(*records: str, **addresses: tuple[str, ...]) -> Table:
    table: dict[tuple[str, str], tuple[str, ...] | None] = {("MX", "far.test"): records}
    for name, given in addresses.items():
        table["A", f"{name}.test"] = tuple(address for address in given if ":" not in address)
        table["AAAA", f"{name}.test"] = tuple(address for address in given if ":" in address)
    return Table(table)


def test_hosts_come_by_preference_and_at_random_within_one() -> None:
    table = mx("20 c.test.", "10 a.test.", "10 B.test.", a=("8.8.8.1",), b=("8.8.8.2",), c=("8.8.8.3",))
    orders = {tuple(host.name for host in found(table)) for _ in range(60)}
    assert orders == {("a.test", "b.test", "c.test"), ("b.test", "a.test", "c.test")}


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("both", ("2600::1", "8.8.8.1", "2600::2", "8.8.8.2")),
        ("ipv4", ("8.8.8.1", "8.8.8.2")),
        ("ipv6", ("2600::1", "2600::2")),
        ("prefer-ipv4", ("8.8.8.1", "8.8.8.2", "2600::1", "2600::2")),
        ("prefer-ipv6", ("2600::1", "2600::2", "8.8.8.1", "8.8.8.2")),
    ],
)
def test_the_family_is_chosen_and_ordered(family: str, expected: tuple[str, ...]) -> None:
    table = mx("10 a.test.", a=("8.8.8.1", "8.8.8.2", "2600::1", "2600::2"))
    assert found(table, Delivery(family=family))[0].addresses == expected


def test_without_mx_records_the_domain_itself_is_the_host() -> None:
    table = Table({("A", "far.test"): (V4,)})
    assert found(table)[0][:3] == ("far.test", 0, (V4,))


def test_what_the_dns_says_decides_whether_a_mail_fails_or_waits() -> None:
    assert str(no_mail(Table()))[:9] == "550 5.1.2"
    for name in ("", "a b.test", "-", "x" * 64 + ".test", ".".join(["abc"] * 80)):
        assert str(no_mail(Table(), domain=name))[:9] == "550 5.1.2"
    assert str(no_mail(mx("0 .")))[:10] == "556 5.1.10"
    assert str(no_mail(mx("10 gone.test.")))[:9] == "550 5.4.4"
    assert str(no_mail(mx("10 bad\\032name.", "x y", "")))[:9] == "550 5.4.4"
    assert str(no_mail(mx("10 a.test.", a=(V6,)), Delivery(family="ipv4")))[:9] == "451 4.4.4"
    for table in (
        Table({("MX", "far.test"): None}),
        Table({("MX", "far.test"): ("10 a.test.",), ("A", "a.test"): None, ("AAAA", "a.test"): ()}),
    ):
        with pytest.raises(DnsFailure):
            found(table)


def test_a_host_whose_name_fails_does_not_hide_the_others() -> None:
    table = Table({("MX", "far.test"): ("10 a.test.", "20 b.test."), ("A", "a.test"): None, ("A", "b.test"): (V4,)})
    assert [host.name for host in found(table)] == ["b.test"]
    half = Table({("MX", "far.test"): ("10 a.test.",), ("A", "a.test"): (V4,), ("AAAA", "a.test"): None})
    assert found(half)[0].addresses == (V4,)


def test_a_null_mx_beside_others_says_nothing() -> None:
    assert [host.name for host in found(mx("0 .", "10 a.test.", a=(V4,)))] == ["a.test"]


def test_as_a_backup_mx_only_better_hosts_are_used_and_as_the_best_none() -> None:
    table = mx("10 a.test.", "20 relay.test.", "30 c.test.", a=(V4,), relay=(V4,), c=(V4,))
    assert [host.name for host in found(table)] == ["a.test"]
    assert str(no_mail(mx("10 relay.test.", "30 c.test.", relay=(V4,), c=(V4,))))[:9] == "554 5.4.6"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.8.8", "10.1.2.3", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::",
     "ff02::1"],
)  # fmt: skip
def test_an_mx_in_no_public_network_is_never_connected_to(address: str) -> None:
    assert is_private(address)
    reply = no_mail(mx("10 a.test.", a=(address,)))
    assert str(reply)[:9] == "554 5.4.6"
    both = mx("10 a.test.", "20 b.test.", a=(address,), b=(V4,))
    if address != "127.0.0.1" and address != "::1":
        assert [host.name for host in found(both)] == ["b.test"]
    allowed = found(mx("10 a.test.", a=(address,)), Delivery(private=True))
    assert allowed[0].addresses == (address,)


def test_public_addresses_are_not_private() -> None:
    assert not any(map(is_private, ("8.8.8.8", "2600::1", "::ffff:8.8.8.8", "2002:808:808::")))


@pytest.mark.parametrize("listener", ["127.0.0.1", "0.0.0.0", "::", "localhost", ""])
def test_our_own_listener_is_no_next_hop_even_where_private_ones_are_allowed(listener: str) -> None:
    own = lambda: [(listener, 25)]  # noqa: E731
    with pytest.raises(NoMail, match="come back to us"):
        found(mx("10 a.test.", a=("127.0.0.1",)), Delivery(private=True), own=own)
    with pytest.raises(NoMail, match="is this relay itself") as caught:
        asyncio.run(smarthost("127.0.0.1", 25, Table(), PUBLIC, own))
    assert not caught.value.reply.permanent, "a route is mended by a person"
    assert asyncio.run(smarthost("127.0.0.1", 2525, Table(), PUBLIC, own)).addresses == ("127.0.0.1",)


def test_our_own_unix_socket_is_no_next_hop() -> None:
    made = courier(Table(), Delivery(), Route(to="lmtp:///run/own"), own=lambda: [("/run/own", 0)])
    with pytest.raises(NotConnected, match="is this relay itself"):
        asyncio.run(deliver(made))


def test_a_smarthost_without_address_waits_whatever_the_reason() -> None:
    with pytest.raises(NoMail) as caught:
        asyncio.run(smarthost("smart.test", 25, Table(), PUBLIC))
    assert not caught.value.reply.permanent
    with pytest.raises(DnsFailure):
        asyncio.run(smarthost("smart.test", 25, Table({("A", "smart.test"): None}), PUBLIC))


def test_address_literals_and_floods_of_records_are_bounded() -> None:
    assert found(Table(), domain=f"[{V4}]")[0].addresses == (V4,)
    assert found(Table(), domain=f"[IPv6:{V6}]")[0].addresses == (V6,)
    assert str(no_mail(Table(), domain="[10.0.0.1]"))[:9] == "554 5.4.6"
    assert no_mail(Table(), domain="[x]").permanent
    names = [f"{number} h{number}.test." for number in range(5_000)]
    flood = mx(*names, **{f"h{number}": tuple(f"8.8.{number}.{last}" for last in range(200)) for number in range(100)})
    given = found(flood)
    assert len(given) <= 10
    assert all(len(host.addresses) <= 16 for host in given)
    assert len(flood.asked) <= 21


# routes


def test_the_first_route_that_fits_counts() -> None:
    routes = (
        Route(domains=("example.org",), to="smtps://smart.test", user="u", password_file="p", tls="verify"),
        Route(domains=(".example.org", "EXAMPLE.net"), to="lmtp:///run/lmtp"),
        Route(domains=("example.com",), tls="none", connections=3, per_minute=7),
        Route(domains=("*",), to="smtp://[2600::1]:2525"),
    )
    settings = RelaySettings(routes=routes)
    first = hop("example.org", settings)
    assert (first.kind, first.host, first.port, first.implicit_tls) == ("smtp", "smart.test", 465, True)
    below = hop("a.example.org", settings)
    assert (below.kind, below.path, below.tls, below.key) == (
        "lmtp",
        "/run/lmtp",
        "none",
        hop("example.net", settings).key,
    )
    kept = hop("example.com", settings)
    assert (kept.kind, kept.domain, kept.tls, kept.connections, kept.per_minute) == ("mx", "example.com", "none", 3, 7)
    rest = hop("anything.test", settings)
    assert (rest.host, rest.port, rest.tls) == ("2600::1", 2525, "verify")
    assert hop("far.test", RelaySettings()).kind == "mx"
    assert hop("far.test", RelaySettings(care=Care(dry_run="/tmp/x"))).kind == "folder"


@pytest.mark.parametrize(
    "text", ["", "smtp://", "http://a", "smtp://a:b", "smtp://a:99999", "lmtp://", "smtp://u:p@a", "smtp://a/b", "a:25"]
)
def test_a_route_that_cannot_be_is_told(text: str) -> None:
    with pytest.raises(RouteError, match="route"):
        target(text)


# connecting


def local(*addresses: str) -> Table:
    return world(*addresses, name="mx.far.test")


def test_when_ipv6_does_not_answer_ipv4_is_used_and_remembered() -> None:
    async def run() -> None:
        async with far(FarHost()) as host:
            delivery = Delivery(tls="none", private=True, port=host.port, connect=2, command=2)
            made = courier(local("127.0.0.1", "::1", "fd00::1"), delivery)  # nobody listens at these
            for _ in range(2):
                session = await made.connect(hop("far.test", made.settings))
                assert session.link[:3] == ("127.0.0.1", "mx.far.test", "127.0.0.1")
                await session.close()

    asyncio.run(run())


def test_the_next_host_is_tried_when_one_does_not_want_us() -> None:
    async def run() -> None:
        port = _free_port()
        sour = FarHost(answers={"greeting": b"554 5.7.1 go away\r\n"})
        async with far(sour, "127.0.0.2", port), far(FarHost(), "127.0.0.3", port) as good:
            delivery = Delivery(tls="none", private=True, port=port)
            [reply] = await deliver(courier(local("127.0.0.2", "127.0.0.3"), delivery))
            assert reply.taken
            assert (sour.sessions, good.sessions) == (1, 1)

    asyncio.run(run())


def test_a_source_address_of_ipv6_does_not_break_ipv4() -> None:
    async def run() -> None:
        async with far(FarHost()) as host:
            delivery = Delivery(tls="none", private=True, port=host.port, source_ipv6="2001:db8::9")
            made = courier(local("127.0.0.1", "::1"), delivery)
            assert (await deliver(made))[0].taken
            made = courier(local("127.0.0.1"), dataclasses.replace(delivery, source_ipv4="127.0.0.9"))
            session = await made.connect(hop("far.test", made.settings))
            assert session.link.source == "127.0.0.9"
            await session.close()
            made = courier(local("127.0.0.1"), dataclasses.replace(delivery, source_ipv4="192.0.2.9"))
            with pytest.raises(NotConnected, match=r"192\.0\.2\.9 is not of this machine"):
                await deliver(made)

    asyncio.run(run())


def test_when_no_host_answers_the_mail_waits_with_the_reason() -> None:
    async def run() -> RemoteReply:
        port = _free_port()
        with pytest.raises(NotConnected) as caught:
            await deliver(courier(local("127.0.0.1"), Delivery(tls="none", private=True, port=port)))
        assert caught.value.link.host == "mx.far.test"
        return caught.value.reply

    reply = asyncio.run(run())
    assert (reply.code, reply.enhanced, reply.stage, reply.said) == (451, "4.4.1", "connect", False)
    assert "mx.far.test [127.0.0.1] port" in reply.text


def test_a_dns_failure_waits_and_a_missing_domain_fails() -> None:
    async def reply(table: Table) -> RemoteReply:
        with pytest.raises(NotConnected) as caught:
            await deliver(courier(table))
        return caught.value.reply

    waits = asyncio.run(reply(Table({("MX", "far.test"): None})))
    assert (waits.permanent, waits.enhanced, waits.stage) == (False, "4.4.3", "dns")
    assert asyncio.run(reply(Table())).permanent


def test_a_dry_run_writes_the_mail_and_connects_to_nobody(tmp_path: Path) -> None:
    made = courier(Table(), Delivery(), care=Care(dry_run=f"{tmp_path}/dry"))
    [reply] = asyncio.run(deliver(made, "b@far.test"))
    assert (reply.code, reply.said) == (250, False)
    [written] = (tmp_path / "dry").glob("*.eml")
    assert str(written) in reply.text
    assert written.read_bytes() == CONTENT
    assert written.with_suffix(".envelope").read_text() == "MAIL FROM:<a@sender.test>\nRCPT TO:<b@far.test>\n"
    made = courier(Table(), Delivery(), care=Care(dry_run="/proc/no"))
    assert not asyncio.run(deliver(made))[0].permanent


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
