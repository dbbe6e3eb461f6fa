"""`dmarcview dns`: what a sending domain publishes, judged against a DNS that is a table."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.zone as dns_zone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmarcview.commands import dns
from dmarcview.commands.key import ring_of
from dmarcview.dns import spf
from dmarcview.dns.sending import Check, Sender, check, wanted
from dmarcview.store import Store, records_seen
from dmarcview.store.records_seen import Observed
from dmarcview_relay.dkimdns import record
from dmarcview_relay.keys import NEW, RETIRED, RETIRING, SIGNING, SigningKey
from dmarcview_reports.trust_dns import FixedResolver

Answers = dict[tuple[str, str], Sequence[Any] | None]

KEY = SigningKey("example.org", "s1", "rsa", 2048, Path("/keys/s1.pem"), 0.0, SIGNING, public="QUJD")
SENDER = Sender(
    domain="example.org",
    hostname="mail.example.org",
    sources=("192.0.2.25", "2001:db8::25"),
    keys=(KEY,),
    signing=(KEY,),
    rua=("dmarc@reports.example.net",),
    tlsrpt=("tls@example.org",),
)
GOOD: Answers = {
    ("TXT", "example.org"): [b"v=spf1 ip4:192.0.2.25 ip6:2001:db8::/64 ~all", b"unrelated"],
    ("TXT", KEY.name): [record(KEY).encode()],
    ("TXT", "_dmarc.example.org"): [b"v=DMARC1; p=reject; rua=mailto:dmarc@reports.example.net"],
    ("TXT", "example.org._report._dmarc.reports.example.net"): [b"v=DMARC1"],
    ("TXT", "_mta-sts.example.org"): [b"v=STSv1; id=20260101"],
    ("TXT", "_smtp._tls.example.org"): [b"v=TLSRPTv1; rua=mailto:tls@example.org"],
    ("PTR", "25.2.0.192.in-addr.arpa"): ["mail.example.org"],
    ("PTR", "5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"): ["mail.example.org"],
    ("A", "mail.example.org"): ["192.0.2.25"],
    ("AAAA", "mail.example.org"): ["2001:db8::25"],
    ("MX", "example.org"): [(10, "mail.example.org")],
}


def judged(answers: Answers, sender: Sender = SENDER) -> list[Check]:
    return list(check(sender, FixedResolver({**GOOD, **answers})))


def not_ok(checks: list[Check]) -> list[Check]:
    return [one for one in checks if one.state != "ok"]


def the(checks: list[Check], kind: str) -> Check:
    (one,) = (one for one in not_ok(checks) if one.kind == kind)
    return one


def test_a_domain_that_has_all_is_told_nothing_to_do() -> None:
    checks = judged({})
    assert not_ok(checks) == []
    assert {one.kind for one in checks} == {"SPF", "DKIM", "DMARC", "PTR", "MX", "MTA-STS", "TLS-RPT"}


def test_what_is_to_be_published_for_an_empty_domain_makes_it_whole() -> None:
    lines = "\n".join(one.publish for one in wanted(SENDER)).splitlines()
    shown: Answers = {}
    for line in lines:
        name, is_record, rest = line.partition(". IN ")
        kind, _, value = rest.partition(" ")
        if is_record:
            text = value.strip('"').encode() if kind == "TXT" else value.rstrip(".")
            shown[(kind, name)] = [(10, text[3:])] if kind == "MX" else [text]  # type: ignore[index]
    shown |= {key: value for key, value in GOOD.items() if key[0] in ("A", "AAAA")}
    left = not_ok(list(check(SENDER, FixedResolver(shown))))
    assert [(one.kind, one.state) for one in left] == [("DMARC", "note")], "p=none only watches"


def test_an_address_that_spf_does_not_cover_is_added_to_the_record() -> None:
    one = the(judged({("TXT", "example.org"): [b"v=spf1 mx ~all"], ("AAAA", "mail.example.org"): ["2001:db8::26"],
                      **{k: None for k in GOOD if k[0] == "PTR"}}), "SPF")  # fmt: skip
    assert (one.state, one.publish) == ("fail", 'example.org. IN TXT "v=spf1 mx ip6:2001:db8::25 ~all"')
    assert "2001:db8::25" in one.advice


@pytest.mark.parametrize(
    ("text", "state", "told"),
    [
        (b"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 -all", "warn", "forwarded mail"),
        (b"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25", "warn", "nothing of strangers"),
        (b"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 ?all", "warn", "nothing of strangers"),
        (b"v=spf1 +all", "fail", "everybody"),
        (b"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 ip4:nonsense ~all", "fail", "no network"),
        (b"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 ipv4:192.0.2.1 ~all", "fail", "no term"),
        (b"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 include:none.example ~all", "fail", "no SPF record"),
        (b"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 include:example.org ~all", "fail", "includes itself"),
        (b"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 ptr ~all", "fail", "ptr"),
    ],
)
def test_a_flaw_of_an_spf_record_is_named(text: bytes, state: str, told: str) -> None:
    one = the(judged({("TXT", "example.org"): [text]}), "SPF")
    assert one.state == state
    assert told in f"{one.found} {one.advice}"


def test_no_spf_record_and_several_are_both_wrong() -> None:
    assert the(judged({("TXT", "example.org"): []}), "SPF").publish == (
        'example.org. IN TXT "v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 ~all"'
    )
    assert "2 SPF records" in the(judged({("TXT", "example.org"): [b"v=spf1 -all", b"v=spf1 ~all"]}), "SPF").found


@pytest.mark.parametrize(("includes", "state"), [(10, "ok"), (11, "fail"), (60, "fail")])
def test_look_ups_are_counted_through_includes(includes: int, state: str) -> None:
    chain: Answers = {
        ("TXT", f"n{n}.example"): [f"v=spf1 include:n{n + 1}.example ?all".encode()] for n in range(1, includes)
    }
    chain |= {
        ("TXT", f"n{includes}.example"): [b"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 ?all"],
        ("TXT", "example.org"): [b"v=spf1 include:n1.example ip4:192.0.2.25 ip6:2001:db8::25 ~all"],
    }
    resolver = FixedResolver({**GOOD, **chain})
    first = next(iter(check(SENDER, resolver)))
    assert first.state == state
    assert len([name for _, name in resolver.asked if name.startswith("n")]) <= spf.WALKED
    assert ("stop at 10" in first.advice) == (state == "fail")


@pytest.mark.parametrize(("count", "state"), [(2, "ok"), (3, "fail")])
def test_void_look_ups_are_counted(count: int, state: str) -> None:
    terms = " ".join(f"a:void{n}.example" for n in range(count))
    text = f"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 {terms} ~all".encode()
    first = judged({("TXT", "example.org"): [text]})[0]
    assert first.state == state
    assert f"{count} of 2 void" in first.found


def test_mechanisms_match_as_receivers_match_them() -> None:
    found = spf.walk(
        "example.org",
        FixedResolver(
            {
                ("TXT", "example.org"): [b"v=spf1 -ip4:192.0.2.66 ip4:192.0.2.0/24 a mx/28 include:x.example"
                                         b" a:h.example//64 exists:%{i}.example redirect=y.example"],
                ("TXT", "x.example"): [b"v=spf1 ip6:2001:db8::/32 ip4:203.0.113.99 -all"],
                ("TXT", "y.example"): [b"v=spf1 ip4:198.51.100.200 -all"],
                ("A", "example.org"): ["198.51.100.1"],
                ("MX", "example.org"): [(10, "m.example")],
                ("A", "m.example"): ["203.0.113.5"],
                ("AAAA", "h.example"): ["2001:db9::1"],
            }
        ),
    )  # fmt: skip
    assert found.record is not None
    wanted_results = {
        "192.0.2.7": "pass",
        "192.0.2.66": "fail",
        "198.51.100.1": "pass",
        "198.51.100.2": "fail",
        "203.0.113.14": "pass",
        "203.0.113.16": "fail",
        "203.0.113.99": "pass",
        "2001:db8::5": "pass",
        "2001:db9::ff": "pass",
        "198.51.100.200": "pass",
    }
    assert {ip: found.record.result(ip) for ip in wanted_results} == wanted_results
    assert found.lookups == 6
    assert found.record.otherwise == "-"


@given(st.lists(st.binary(max_size=60).map(lambda tail: b"v=spf1 " + tail) | st.binary(max_size=80), max_size=3))
def test_no_txt_record_breaks_the_checks(found: list[bytes]) -> None:
    every = {key: found for key in GOOD if key[0] == "TXT"}
    assert judged(every)


def test_a_key_that_signs_must_be_in_the_dns() -> None:
    one = the(judged({("TXT", KEY.name): []}), "DKIM")
    assert (one.state, one.publish) == ("fail", f'{KEY.name}. IN TXT "{record(KEY)}"')
    assert "held" in one.advice
    assert "another key" in the(judged({("TXT", KEY.name): [b"v=DKIM1; p=QUJE"]}), "DKIM").advice


@pytest.mark.parametrize(
    ("state", "shown", "verdict"),
    [
        (NEW, False, "warn"),
        (NEW, True, "ok"),
        (RETIRING, False, "fail"),
        (RETIRING, True, "ok"),
        (RETIRED, True, "note"),
    ],
)
def test_other_keys_are_judged_by_their_state(state: str, shown: bool, verdict: str) -> None:
    other = replace(KEY, selector="s2", state=state)
    answers: Answers = {("TXT", other.name): [record(other).encode()] if shown else []}
    (one,) = (one for one in judged(answers, SENDER._replace(keys=(KEY, other))) if one.name == other.name)
    assert one.state == verdict


@pytest.mark.parametrize("holds", [True, False])
def test_it_says_that_mail_is_held_only_where_it_is(holds: bool) -> None:
    found = the(judged({("TXT", KEY.name): []}, SENDER._replace(holds=holds)), "DKIM")
    assert ("Mail is held" in found.advice) == holds


def test_no_key_and_a_weak_key_are_told() -> None:
    assert "dmarcview key new example.org" in the(judged({}, SENDER._replace(keys=(), signing=())), "DKIM").advice
    weak = replace(KEY, bits=1024)
    assert the(judged({}, SENDER._replace(keys=(weak,), signing=(weak,))), "DKIM").state == "warn"


@pytest.mark.parametrize(
    ("found", "state", "publish"),
    [
        ([], "fail", "v=DMARC1; p=none; rua=mailto:dmarc@reports.example.net"),
        ([b"v=DMARC1; p=none", b"v=DMARC1; p=reject"], "fail", "v=DMARC1; p=none; rua="),
        ([b"v=DMARC1; rua=mailto:dmarc@reports.example.net"], "fail", "v=DMARC1; p=none; rua="),
        ([b"v=DMARC1; p=block; rua=mailto:dmarc@reports.example.net"], "fail", "p=none"),
        ([b"v=DMARC1; p=none; rua=mailto:dmarc@reports.example.net"], "note", ""),
    ],
)
def test_a_flaw_of_the_dmarc_record_is_named(found: list[bytes], state: str, publish: str) -> None:
    one = next(one for one in not_ok(judged({("TXT", "_dmarc.example.org"): found})) if one.kind == "DMARC")
    assert one.state == state
    assert publish in one.publish


def test_a_destination_elsewhere_must_have_agreed() -> None:
    name = "example.org._report._dmarc.reports.example.net"
    one = the(judged({("TXT", name): []}), "DMARC")
    assert (one.state, one.name, one.publish) == ("fail", name, f'{name}. IN TXT "v=DMARC1"')


def test_a_subdomain_is_covered_by_the_record_of_its_organisation() -> None:
    sender = SENDER._replace(domain="news.example.org")
    found = [one for one in check(sender, FixedResolver(GOOD)) if one.kind == "DMARC"]
    assert [one.state for one in found] == ["ok"]
    assert "that of example.org counts" in found[0].found


@pytest.mark.parametrize(
    ("answers", "publish"),
    [
        ({("PTR", "25.2.0.192.in-addr.arpa"): []}, "25.2.0.192.in-addr.arpa. IN PTR mail.example.org."),
        ({("PTR", "25.2.0.192.in-addr.arpa"): ["host.example.net"]}, "host.example.net. IN A 192.0.2.25"),
    ],
)
def test_an_address_needs_a_name_that_leads_back(answers: Answers, publish: str) -> None:
    one = the(judged(answers), "PTR")
    assert (one.state, one.publish) == ("fail", publish)


def test_no_mx_and_one_that_leads_nowhere_are_told() -> None:
    assert the(judged({("MX", "example.org"): []}), "MX").state == "fail"
    assert the(judged({("MX", "example.org"): [], ("A", "example.org"): ["192.0.2.1"]}), "MX").state == "warn"
    assert "gone.example.org" in the(judged({("MX", "example.org"): [(5, "gone.example.org")]}), "MX").advice
    assert the(judged({("MX", "example.org"): [(0, "")]}), "MX").state == "warn"


def test_a_broken_mta_sts_or_tlsrpt_record_is_wrong_and_none_is_only_a_note() -> None:
    for name, kind in (("_mta-sts.example.org", "MTA-STS"), ("_smtp._tls.example.org", "TLS-RPT")):
        assert the(judged({("TXT", name): []}), kind).state == "note"
    assert the(judged({("TXT", "_mta-sts.example.org"): [b"v=STSv1; id=a-b"]}), "MTA-STS").state == "fail"
    assert the(judged({("TXT", "_smtp._tls.example.org"): [b"v=TLSRPTv1"]}), "TLS-RPT").state == "fail"
    assert "mx: mail.example.org" in next(one for one in judged({}) if one.kind == "MTA-STS").publish


def test_a_dns_that_fails_fails_the_check_and_no_more() -> None:
    one = the(judged({("TXT", "example.org"): None}), "SPF")
    assert (one.state, "does not answer" in one.found) == ("fail", True)


# -- the command


def command(folder: Path, action: str, answers: Answers, *, as_json: bool = False) -> int:
    settings = folder / "dmarcview.toml"
    settings.write_text(
        f'[data]\ndir = "{folder}/data"\n[relay]\nhostname = "mail.example.org"\n'
        '[receive]\nrua = ["dmarc@reports.example.net"]\n'
    )
    args = argparse.Namespace(
        action=action, domain="Example.org.", source=None, json=as_json, config=str(settings), data=None
    )
    return dns.run(args, FixedResolver({**GOOD, **answers}))


def test_the_command_gives_one_when_something_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ring = ring_of(dns.settings(argparse.Namespace(config=None, data=str(tmp_path / "data"))))
    key = ring.new("example.org", "s1")
    shown: Answers = {("TXT", key.name): [record(key).encode()]}
    assert command(tmp_path, "check", shown) == 0
    assert "Nothing is wrong." in capsys.readouterr().out
    assert command(tmp_path, "check", {**shown, ("MX", "example.org"): []}) == 1
    assert "1 of" in capsys.readouterr().out
    assert command(tmp_path, "check", {}, as_json=True) == 1
    found = json.loads(capsys.readouterr().out)
    assert [one["kind"] for one in found if one["state"] == "fail"] == ["DKIM"]
    assert command(tmp_path, "show", {}) == 0
    out = capsys.readouterr().out
    assert f"{key.name}. IN TXT (" in out
    assert "v=spf1 a:mail.example.org ~all" in out


def test_what_is_shown_can_go_into_a_zone_file_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ring = ring_of(dns.settings(argparse.Namespace(config=None, data=str(tmp_path / "data"))))
    key = ring.new("example.org", "s1")
    assert command(tmp_path, "show", {}) == 0
    out = capsys.readouterr().out
    zone = dns_zone.from_text("$TTL 300\n" + out, origin="example.org.", check_origin=False)
    assert zone.find_rdataset("s1._domainkey", "TXT")[0].to_text().replace('" "', "").strip('"') == record(key)
    assert {str(name) for name in zone} == {"@", "s1._domainkey", "_dmarc", "_mta-sts", "_smtp._tls"}
    assert ";   mode: testing" in out
    assert "; PTR: Give mail.example.org its address" in out


def test_what_was_published_when_is_listed_record_by_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(tmp_path / "data") as store:
        for at, value in ((0, "v=spf1 mx -all"), (900, "v=spf1 mx -all"), (1800, "12 look-ups, 1 void\nan error\x1b")):
            one = Observed("example.org", "spf", "example.org", value)
            records_seen.note(store.ledger, [one, one._replace(kind="dmarc", name="_dmarc.example.org", value="")], at)
    assert command(tmp_path, "history", {}) == 0
    assert capsys.readouterr().out.splitlines() == [
        "dmarc     _dmarc.example.org",
        "  1970-01-01 00:00 to 1970-01-01 00:30  no record",
        "spf       example.org",
        "  1970-01-01 00:00 to 1970-01-01 00:15  v=spf1 mx -all",
        "  1970-01-01 00:30 to 1970-01-01 00:30  12 look-ups, 1 void; an error\\x1b (seen once)",
    ]
    assert command(tmp_path, "history", {}, as_json=True) == 0
    first = json.loads(capsys.readouterr().out)[0]
    assert (first["value"], first["first"], first["last"]) == ("", "1970-01-01 00:00", "1970-01-01 00:30")


def test_a_domain_that_was_never_looked_at_has_no_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store.open(tmp_path / "data").close()
    assert command(tmp_path, "history", {}) == 0
    assert capsys.readouterr().out == (
        "Nothing is known of example.org yet. Its records are looked at every 6 hours while `dmarcview serve` runs.\n"
    )


def test_nothing_from_the_dns_can_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = b"\x1b]0;title\x07\x9b2J"
    command(tmp_path, "check", {key: [b"v=spf1 " + evil] for key in GOOD if key[0] == "TXT"})
    command(tmp_path, "check", {("TXT", "_dmarc.example.org"): [b"v=DMARC1; p=none; rua=mailto:a@b" + evil]})
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
