"""The demo's report files and its DNS: written as reporters write them, read back with plain XML and DNS libraries."""

from __future__ import annotations

import email
import gzip
import io
import mailbox
import zipfile
from collections import Counter
from datetime import date
from email.message import Message
from functools import cache
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rcode
import dns.resolver
import dns.reversename
import pytest
from lxml import etree

from dmarcview.demo import dns as demo_dns
from dmarcview.demo import folder, reports, traffic
from dmarcview.demo.story import REPORTERS, SENDERS
from dmarcview.demo.traffic import Made

TODAY = date(2026, 3, 4)


@cache
def made() -> tuple[Made, ...]:
    return tuple(traffic.year(TODAY, days=26))


def one_of_each_reporter() -> list[Made]:
    return list({m.reporter.domain: m for m in made()}.values())


def tree(content: bytes) -> Any:
    return etree.fromstring(content)


def texts(root: Any, path: str) -> list[str | None]:
    steps = "/".join(f"*[local-name()='{step}']" for step in path.split("/"))
    return [element.text for element in root.xpath(f"//{steps}")]


@pytest.mark.parametrize("one", one_of_each_reporter(), ids=lambda m: m.reporter.domain)
def test_xml_says_what_was_made(one: Made) -> None:
    root = tree(reports.xml(one))
    assert texts(root, "report_metadata/org_name") == [one.reporter.name]
    assert texts(root, "report_metadata/report_id") == [one.report_id]
    assert texts(root, "date_range/begin") == [str(one.begin)]
    assert texts(root, "policy_published/domain") == [one.domain.name]
    assert texts(root, "row/source_ip") == [r.source_ip for r in one.records]
    assert texts(root, "row/count") == [str(r.count) for r in one.records]
    passed = ["pass" if r.shape.dkim_aligned else "fail" for r in one.records]
    assert texts(root, "policy_evaluated/dkim") == passed
    assert len(texts(root, "auth_results/dkim")) == sum(len(r.shape.dkim) for r in one.records)
    envelope = [r.shape.envelope_from for r in one.records if r.shape.envelope_from is not None]
    assert texts(root, "identifiers/envelope_from") == envelope


def test_both_schemas_and_three_containers_are_spoken() -> None:
    roots = {str(tree(reports.xml(one)).tag) for one in one_of_each_reporter()}
    assert any(reports.RFC9990_NAMESPACE in tag for tag in roots)
    assert any(reports.RFC7489_NAMESPACE in tag for tag in roots)
    assert "feedback" in roots
    assert {reports.pack(one).name.rsplit(".", 1)[1] for one in made()} == {"gz", "zip", "xml"}


def unpacked(content: bytes) -> bytes:
    if content[:2] == b"PK":
        archive = zipfile.ZipFile(io.BytesIO(content))
        return archive.read(archive.namelist()[0])
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


@pytest.mark.parametrize("one", one_of_each_reporter(), ids=lambda m: m.reporter.domain)
def test_mail_carries_the_report_whole(one: Made) -> None:
    raw = reports.mail(one, "dmarc@example.org")
    assert raw.count(b"\n") == raw.count(b"\r\n"), "bare line feeds would be refused"
    assert max(map(len, raw.split(b"\r\n"))) < 998
    mail: Message = email.message_from_bytes(raw)
    parts = [part for part in mail.walk() if part.get_filename()]
    content = parts[0].get_payload(decode=True)
    assert isinstance(content, bytes)
    assert unpacked(content) == reports.xml(one)
    assert f"Submitter: {one.reporter.domain}" in mail["Subject"]


def test_folder_holds_every_report_once_and_tells_its_extras(tmp_path: Path) -> None:
    truth = folder.write(tmp_path, made(), "dmarc@example.org")
    expected = traffic.count(made())
    assert (truth.reports, truth.messages) == (expected.reports, expected.messages)
    months = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name[:2] == "20"]
    mails = 0
    for path in months:
        if path.suffix == ".mbox":
            box = mailbox.mbox(path)
            mails += len(box)
            box.close()
    assert mails + sum(1 for path in months if path.suffix != ".mbox") == truth.reports
    assert len(list((tmp_path / "again").glob("*.eml"))) == truth.duplicates > 0
    assert len(list((tmp_path / "odd").iterdir())) == truth.refused == 4
    corrected = list((tmp_path / "again" / "corrected").iterdir())
    assert len(corrected) == truth.conflicts > 0


def test_a_conflict_has_the_id_of_a_report_and_another_count(tmp_path: Path) -> None:
    folder.write(tmp_path, made(), "dmarc@example.org")
    known = {m.report_id: m for m in made()}
    for path in (tmp_path / "again" / "corrected").iterdir():
        root = tree(unpacked(path.read_bytes()))
        original = known[texts(root, "report_metadata/report_id")[0] or ""]
        counted = sum(int(text or 0) for text in texts(root, "row/count"))
        assert counted == original.messages + 7


@pytest.fixture
def server() -> Any:
    zones = demo_dns.zones(client="127.0.0.1", dkim_key="k" * 400, selector="demo", rua="dmarc@example.org")
    with demo_dns.Server(zones) as running:
        yield running


def ask(server: demo_dns.Server, name: str, kind: str) -> dns.message.Message:
    host, port = server.where
    return dns.query.udp(dns.message.make_query(name, kind), host, port=port, timeout=3)


def test_dns_answers_what_its_zones_hold(server: demo_dns.Server) -> None:
    for reporter in REPORTERS:
        assert "v=spf1 ip4:127.0.0.1 -all" in str(ask(server, reporter.domain, "TXT").answer[0])
    key = ask(server, f"demo._domainkey.{REPORTERS[0].domain}", "TXT").answer[0][0]
    assert b"".join(key.strings) == b"v=DKIM1; k=rsa; p=" + b"k" * 400


def test_dns_tells_an_unknown_name_from_an_empty_answer(server: demo_dns.Server) -> None:
    assert ask(server, "nowhere.example", "TXT").rcode() == dns.rcode.NXDOMAIN
    empty = ask(server, REPORTERS[0].domain, "MX")
    assert (empty.rcode(), empty.answer) == (dns.rcode.NOERROR, [])
    above = ask(server, f"_domainkey.{REPORTERS[0].domain}", "TXT")
    assert above.rcode() == dns.rcode.NOERROR, "a name above a held one exists (RFC 8020)"


def test_dns_confirms_host_names_forward_and_back(server: demo_dns.Server) -> None:
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = server.where[1]
    named: Counter[str] = Counter()
    for sender in SENDERS:
        for address in sender.addresses:
            try:
                name = str(resolver.resolve(dns.reversename.from_address(address), "PTR")[0])
            except dns.resolver.NXDOMAIN:
                continue
            kind = "AAAA" if ":" in address else "A"
            assert address in [str(a) for a in resolver.resolve(name, kind)]
            named[sender.kind] += 1
    assert set(named) == {"own", "service", "forwarder", "spoof"}


def test_dns_has_the_key_of_every_selector_that_signs_in_our_name() -> None:
    zones = demo_dns.zones(client="127.0.0.1", dkim_key="k", selector="demo", rua="dmarc@example.org")
    keys = {f"{selector}._domainkey.{domain}." for sender in SENDERS for domain, selector in sender.signatures}
    assert {name for name, kind in zones if kind == "TXT"} > keys
    assert "k=ed25519" in zones["ed2026._domainkey.example.net.", "TXT"][0]


def test_spf_records_list_what_passes_in_the_newest_reports_and_not_the_host_that_fell_out() -> None:
    answers = demo_dns.answers(demo_dns.zones(client="127.0.0.1", dkim_key="k", selector="demo", rua="d@example.org"))
    newest = [record for one in made()[-24:] for record in one.records]
    seen = Counter[str]()
    for record in newest:
        (spf,) = record.shape.spf
        text = answers.get(("TXT", spf.domain or ""), [b""])[0].decode()
        if spf.domain in {sender.envelope_from for sender in SENDERS if sender.kind in ("own", "service")}:
            assert (record.source_ip in text.replace("ip4:", "").replace("ip6:", "").split()) == (spf.result == "pass")
            seen[spf.result or ""] += 1
    assert seen["pass"] > 100
    assert seen["fail"] > 0
    assert answers["TXT", "web1.example.org"] == [b"v=spf1 -all"]


def test_dns_ignores_what_is_no_query(server: demo_dns.Server) -> None:
    assert server.answer(b"\x00" * 3) is None
    assert ask(server, REPORTERS[0].domain, "TXT").answer
