"""The fast reader gives exactly what the plain reader gives, whatever the report looks like and how it is damaged."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import corpus, fuzz
from dmarcview_reports import fast
from dmarcview_reports.errors import Refused
from dmarcview_reports.model import Report
from dmarcview_reports.parse import _memory, parse
from dmarcview_reports.parse_source import Source
from dmarcview_reports.settings import Limits

NOW = 1_798_761_600  # 2027-01-01

WORDS = st.sampled_from(
    [
        "pass",
        "fail",
        "none",
        "Pass",
        " pass ",
        "",
        "hardfail",
        "maybe",
        "softfail",
        "quarantine",
        "r&amp;d",
        "a > b",
        "é",
    ]
)
NAMES = st.sampled_from(
    [
        "example.com",
        "Example.COM",
        "example.com.",
        " example.com ",
        "",
        "a@example.org",
        "<>",
        "é.example",
        "&lt;&gt;",
        "mail.example.com",
        "x_y.example.net",
        ".",
        "\ufeffexample.com",
        "example.com\xa0",
    ]
)
ADDRESSES = st.sampled_from(
    [
        "192.0.2.1",
        "198.51.100.9",
        "2001:db8::1",
        "2001:DB8::1",
        "::ffff:192.0.2.1",
        "[2001:db8::2]",
        "",
        "x",
        "::192.0.2.9",
        "192.0.2.1 ",
        "1.2.3",
        "fe80::1%eth0",
        "192.0.2.1&",
        "203.0.113.7:25",
    ]
)
COUNTS = st.sampled_from(["1", "2", " 3 ", "1,000", "0", "-1", "", "x", "9007199254740993", "1<2"])
GAPS = st.sampled_from(["", "\n  ", "\r\n\t", " "])
ODD = st.sampled_from(
    ["", "<!-- x -->", "<ext:a xmlns:ext='urn:x'>1</ext:a>", "text", "<count>9</count>", "<row/>", "<a b='x>y'/>"]
)


def element(name: str, text: str | None) -> str:
    return "" if text is None else f"<{name}>{text}</{name}>"


@st.composite
def records(draw: st.DrawFn, gap: str) -> str:
    def some(strategy: st.SearchStrategy[str]) -> str | None:
        return draw(st.none() | strategy | strategy | strategy)

    reasons = "".join(
        draw(
            st.sampled_from(["", "<reason/>", "<reason>x</reason>"])
            | st.builds(lambda a, b: f"<reason>{element('type', a)}{gap}{element('comment', b)}</reason>", WORDS, WORDS)
        )
        for _ in range(draw(st.integers(0, 2)))
    )
    said = [element("disposition", some(WORDS)), element("dkim", some(WORDS)), element("spf", some(WORDS)), reasons]
    evaluated = draw(st.sampled_from(["", element("policy_evaluated", gap.join(said))]))
    names = [element(name, some(NAMES)) for name in ("header_from", "envelope_from", "envelope_to")]
    dkim = [
        element(
            "dkim",
            gap.join(
                element(name, some(WORDS if name in ("result", "human_result") else NAMES))
                for name in ("domain", "selector", "result", "human_result")
            ),
        )
        for _ in range(draw(st.integers(0, 3)))
    ]
    spf = [
        element("spf", element("domain", some(NAMES)) + element("scope", some(WORDS)) + element("result", some(WORDS)))
        for _ in range(draw(st.integers(0, 2)))
    ]
    row = f"<source_ip>{draw(ADDRESSES)}</source_ip>{gap}<count>{draw(COUNTS)}</count>{gap}{evaluated}"
    if draw(st.integers(0, 30)) == 0:
        row = row.replace("<count>", draw(ODD) + "<count>")
    parts = [
        element("row", gap + row),
        element(draw(st.sampled_from(["identifiers"] * 9 + ["identities"])), gap.join(names)),
        element("auth_results", gap.join(dkim + spf)),
    ]
    if draw(st.integers(0, 20)) == 0:
        parts.append(draw(ODD))
    return element("record", gap + gap.join(parts) + gap)


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    gap = draw(GAPS)
    # Records repeat, so that skeletons are learnt and used.
    kinds = draw(st.lists(records(gap), min_size=1, max_size=4))
    chosen = [kinds[n % len(kinds)] for n in draw(st.lists(st.integers(0, 9), min_size=0, max_size=12))]
    head = corpus.HEAD.format(org="mx.example.com", id="1", begin=1767225600, end=1767312000, domain=draw(NAMES))
    text = head + gap.join(chosen) + draw(st.sampled_from(["", "", "", draw(ODD)])) + "</feedback>" + gap
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-16", "latin-1"])), "replace")


def outcome(xml: bytes, limits: Limits, fast: bool) -> Report | tuple[str, str]:
    try:
        return parse(xml, limits, NOW, fast=fast)
    except Refused as refused:
        return refused.code, refused.message


LIMITS = [Limits(), Limits(dkim_results=1, spf_results=1, text_bytes=12, warnings=3, records=5)]


@pytest.mark.parametrize("limits", LIMITS, ids=["default limits", "tight limits"])
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(xml=documents())
def test_generated_reports_read_the_same(limits: Limits, xml: bytes) -> None:
    assert outcome(xml, limits, fast=True) == outcome(xml, limits, fast=False)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(xml=documents(), seed=st.integers(0, 2**32))
def test_damaged_reports_read_the_same(xml: bytes, seed: int) -> None:
    rng = random.Random(seed)
    damaged = bytearray(xml)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(damaged))
        match rng.randrange(4):
            case 0:
                damaged[at] = rng.choice(b"<>&\x00\r\xe9/a\"]'!?")
            case 1:
                del damaged[at : at + rng.randint(1, 30)]
            case 2:
                other = rng.randrange(len(damaged))
                damaged[at:at] = damaged[other : other + rng.randint(1, 60)]
            case 3:
                damaged[at:at] = rng.choice(
                    [b"<record>", b"</record>", b"<source_ip>", b"</row>", b"<!--", b"<![CDATA[", b"&#1;"]
                )
        if not damaged:
            break
    assert outcome(bytes(damaged), LIMITS[0], fast=True) == outcome(bytes(damaged), LIMITS[0], fast=False)


@pytest.mark.parametrize("distinct", [True, False])
def test_large_generated_reports_read_the_same(distinct: bool) -> None:
    xml = corpus.report(6000, distinct=distinct, seed=7)
    assert len(xml) > 3 * fast.BLOCK
    report = parse(xml, now=NOW)
    assert report == parse(xml, now=NOW, fast=False)
    assert len(report.records) == 6000


def test_block_boundaries_may_fall_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    xml = corpus.report(12, distinct=True, seed=3)
    plain = parse(xml, now=NOW, fast=False)
    for size in (700, 701, 757, 1000, 1511):
        monkeypatch.setattr(fast, "BLOCK", size)
        assert parse(xml, now=NOW) == plain


def test_small_reports_of_many_reporters_read_the_same() -> None:
    for xml in corpus.small(300, seed=9):
        assert parse(xml, now=NOW) == parse(xml, now=NOW, fast=False)


@pytest.mark.parametrize("distinct", [True, False])
def test_the_fast_reader_does_read_regular_reports(distinct: bool) -> None:
    normal, learnt = _memory(Limits())
    rows = fast.read(Source(corpus.report(3000, distinct=distinct)), normal, learnt)
    assert rows is not None
    assert len(rows.builder.records) == 3000


def test_warnings_name_the_same_records() -> None:
    xml = corpus.report(3000, distinct=True, seed=2)
    parts = xml.split(b"<count>")
    for n in range(1, len(parts), 7):
        parts[n] = b"0" + parts[n]
        parts[n] = parts[n].replace(b"<dkim>pass</dkim>", b"", 1)
    damaged = b"<count>".join(parts).replace(b"<count>0", b"<count>x")
    report = parse(damaged, now=NOW)
    assert report == parse(damaged, now=NOW, fast=False)
    assert report.warning_counts["bad_count"] == len(range(1, len(parts), 7))
    assert report.warnings[0] == ("bad_count", "record 1")
    assert report.warnings[1] == ("bad_count", "record 8")


def test_mutated_samples_hold_what_the_fuzzer_checks() -> None:
    (target,) = (target for target in fuzz.report_targets() if target.name == "parse")
    rng = random.Random(1)
    ends = {target.check(fuzz.mutate(target, rng)) for _ in range(600)}
    assert {"rows", "warnings", "not_a_report", "bad_date_range", "doctype"} <= ends
