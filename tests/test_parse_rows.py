"""What a report says comes out whole: counts, signatures, identities; and bodies come back as they were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import corpus
from dmarcview_reports import rows, schema, vocab
from dmarcview_reports.errors import Refused
from dmarcview_reports.model import DkimResult, Records, Shape, SpfResult
from dmarcview_reports.parse import parse
from dmarcview_reports.settings import Limits

NOW = 1_798_761_600  # 2027-01-01
HEAD = corpus.HEAD.format(org="mx.example.com", id="7@x", begin=1767225600, end=1767312000, domain="example.org")
RECORD = (
    "<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated><disposition>none</disposition>"
    "<dkim>pass</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>example.org</header_from>"
    "</identifiers><auth_results>{auth}</auth_results></record>"
)
SIGNATURE = "<dkim><domain>example.org</domain><selector>s{}</selector><result>pass</result></dkim>"

TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SHAPES = st.builds(
    Shape,
    TEXTS,
    st.none() | st.booleans(),
    st.none() | st.booleans(),
    st.lists(st.text(max_size=5), max_size=2).map(tuple),
    st.lists(st.text(max_size=5), max_size=2).map(tuple),
    st.text(max_size=20),
    TEXTS,
    TEXTS,
    st.lists(st.builds(DkimResult, TEXTS, TEXTS, TEXTS, TEXTS), max_size=3).map(tuple),
    st.lists(st.builds(SpfResult, TEXTS, TEXTS, TEXTS, TEXTS), max_size=3).map(tuple),
)


def report_of(*records: str) -> bytes:
    return (HEAD + "".join(records) + "</feedback>").encode()


@given(shapes=st.lists(SHAPES, max_size=4), count=st.integers(1, 2**53))
def test_a_body_comes_back_as_it_was(shapes: list[Shape], count: int) -> None:
    places = [n % len(shapes) for n in range(20)] if shapes else []
    records = Records([f"192.0.2.{n}" for n in range(len(places))], [count] * len(places), places, shapes)
    assert rows.decode(rows.encode(records)) == records


def test_a_large_body_is_packed() -> None:
    records = parse(corpus.report(1000, distinct=False), now=NOW).records
    body = rows.encode(records)
    assert rows.decode(body) == records
    assert len(body) < 20_000


@pytest.mark.parametrize("body", [b"", b"\x02j[]", b"\x01z123", b"\x01j[1,2", b"\x01j[1]", b"\x01j[[],[],[],[1]]"])
def test_a_damaged_or_newer_body_is_an_error_with_a_name(body: bytes) -> None:
    with pytest.raises(rows.BadBody):
        rows.decode(body)


def test_columns_are_the_public_schema_in_order() -> None:
    report = parse(report_of(RECORD.format(ip="192.0.2.1", count=2, auth="")), now=NOW)
    line = rows.json_report(report, received=1767312001, auth="pass")
    assert tuple(line) == (*schema.REPORT_COLUMNS, "records", "warnings")
    assert tuple(line["records"][0]) == schema.RECORD_COLUMNS
    assert line["received"] == "2026-01-02T00:00:01Z"
    assert len(rows.record_columns(next(iter(report.records)))) == len(schema.RECORD_COLUMNS)


def test_many_signatures_multiply_nothing() -> None:
    auth = "".join(SIGNATURE.format(n) for n in range(100))
    report = parse(report_of(RECORD.format(ip="192.0.2.1", count=5, auth=auth)), now=NOW)
    assert len(report.records) == 1
    assert report.records.messages == 5
    assert len(report.records.shapes[0].dkim) == 100


@pytest.mark.parametrize("fast", [True, False])
def test_results_over_the_limit_are_dropped_with_a_warning(fast: bool) -> None:
    auth = "".join(SIGNATURE.format(n) for n in range(400))
    records = [RECORD.format(ip=f"192.0.2.{n}", count=5, auth=auth) for n in range(9)]
    report = parse(report_of(*records), now=NOW, fast=fast)
    assert [len(shape.dkim) for shape in report.records.shapes] == [100]
    assert report.warning_counts == {"many_dkim": 9}


def test_a_long_text_is_cut_at_a_character() -> None:
    xml = report_of(RECORD.format(ip="192.0.2.1", count=5, auth="")).replace(
        b"mx.example.com<", "é".encode() * 50 + b"<", 1
    )
    report = parse(xml, Limits(text_bytes=31), NOW)
    assert report.org_name == "é" * 15
    assert report.warning_counts["long_text"] >= 1


def test_listed_warnings_are_bounded_and_all_are_counted() -> None:
    xml = report_of(*[RECORD.format(ip="x", count=5, auth="")] * 50)
    report = parse(xml, Limits(warnings=10), NOW)
    assert len(report.warnings) == 10
    assert report.warning_counts == {"bad_source_ip": 50}


def test_too_many_records_are_refused_and_the_setting_is_named() -> None:
    with pytest.raises(Refused) as caught:
        parse(report_of(*[RECORD.format(ip="192.0.2.1", count=5, auth="")] * 11), Limits(records=10), NOW)
    assert (caught.value.code, caught.value.setting) == ("too_many_records", "records")


def test_the_limit_of_bytes_names_its_setting() -> None:
    with pytest.raises(Refused) as caught:
        parse(b"<feedback/>" + b" " * 100, Limits(xml_bytes=100), NOW)
    assert (caught.value.code, caught.value.setting) == ("too_large", "xml_bytes")


def test_the_mails_domain_stands_in_for_a_missing_reporter() -> None:
    xml = report_of().replace(b"<org_name>mx.example.com</org_name>", b"").replace(b"noreply-dmarc@mx.example.com", b"")
    report = parse(xml, now=NOW, mail_domain="Mail.Example.NET")
    assert report.org_name == report.submitter == "mail.example.net"


def test_an_end_a_day_ahead_is_taken_and_a_second_more_is_not() -> None:
    assert parse(report_of(), now=1767312000 - 86_400).end == 1767312000
    with pytest.raises(Refused, match="future_report"):
        parse(report_of(), now=1767312000 - 86_401)


def test_same_report_sent_again_has_the_same_identity_and_key() -> None:
    one, other = (parse(report_of(RECORD.format(ip="192.0.2.1", count=n, auth="")), now=NOW) for n in (1, 2))
    again = parse(report_of(RECORD.format(ip="192.0.2.1", count=1, auth="")), now=NOW + 5)
    assert one.identity == other.identity == again.identity
    assert one.report_key == again.report_key != other.report_key


def test_every_warning_and_refusal_has_one_sentence_or_two() -> None:
    for table in (vocab.WARNINGS, vocab.REFUSALS):
        for code, meaning in table.items():
            assert code == code.lower().replace(" ", "_")
            assert meaning.endswith(".")
    assert set(vocab.WARNINGS) >= vocab.DROPS


@given(data=st.binary(max_size=300))
def test_no_bytes_raise_anything_but_a_refusal_from_the_table(data: bytes) -> None:
    for raw in (data, b"<feedback>" + data, report_of("\0").replace(b"\0", data)):
        assert end_of(raw) in {"report", *vocab.REFUSALS}


def end_of(raw: bytes) -> str:
    try:
        parse(raw, now=NOW)
    except Refused as refused:
        return refused.code
    return "report"
