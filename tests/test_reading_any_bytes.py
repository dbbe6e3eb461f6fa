"""No bytes make `reading.read` raise or fail, and nothing ends without a word about it."""

import gzip
import json
import random
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarcview_reports import reading
from dmarcview_reports.model import Reading
from dmarcview_reports.settings import Limits
from dmarcview_reports.vocab import REFUSALS, WARNINGS

SAMPLES = Path(__file__).parent.parent / "reports" / "samples"
SEEDS = sorted(
    path
    for folder in ("mail", "archive")
    for path in (SAMPLES / folder).iterdir()
    if path.suffix not in (".json", ".txt")
)
LIMITS = Limits(xml_bytes=3_000_000, mail_bytes=2_000_000)
NOW = 1_798_761_600


def hold(found: Reading) -> None:
    """What is true of every reading."""
    assert found.reports or found.others or found.refusals
    for refusal in found.refusals:
        assert refusal.code in REFUSALS
        assert refusal.code != "fault", refusal.message
        assert refusal.message
    for report in found.reports:
        assert all(code in WARNINGS for code in report.warning_counts)
        assert sum(report.warning_counts.values()) >= len(report.warnings)
        assert report.begin < report.end
    json.dumps(reading.json_line(found))


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes(raw: bytes) -> None:
    hold(reading.read(raw, "x", LIMITS, NOW))


MAGICS = [
    b"PK\x03\x04",
    b"\x1f\x8b\x08",
    b"BZh9",
    b"\xfd7zXZ\x00",
    b"x\x9c",
    b"From: a\n",
    b"<feedback>",
    b"{",
    b"[{",
    b"From ",
]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(MAGICS), st.binary(max_size=500), st.binary(max_size=200))
def test_bytes_that_begin_like_something(magic: bytes, head: bytes, tail: bytes) -> None:
    hold(reading.read(magic + head + b"PK\x05\x06" + tail, "x", LIMITS, NOW))
    hold(reading.read(b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n" + magic + head, "x", LIMITS, NOW))


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.name)
def test_samples_with_bytes_changed_cut_and_doubled(path: Path) -> None:
    source = path.read_bytes()
    chance = random.Random(path.name)
    for _ in range(40 if len(source) < 10_000 else 5):
        raw = bytearray(source or b" ")
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(raw))
            match chance.randrange(4):
                case 0:
                    raw[at] = chance.randrange(256)
                case 1:
                    del raw[at : at + chance.randrange(1, 60)]
                case 2:
                    raw[at:at] = raw[: chance.randrange(60)]
                case 3:
                    raw[at:at] = chance.choice(MAGICS)
            raw = raw or bytearray(b" ")
        hold(reading.read(bytes(raw), "x", LIMITS, NOW))


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=20),
        lambda c: st.lists(c) | st.dictionaries(st.text(max_size=5), c),
    )
)
def test_any_json_under_the_names_of_parsedmarc(value: object) -> None:
    names = ("report_metadata", "policy_published", "records")
    for name in names:
        report = {**dict.fromkeys(names), name: value}
        hold(reading.read(json.dumps([report]).encode(), "x", LIMITS, NOW))


def test_a_fault_of_ours_is_contained_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("made to fail")

    monkeypatch.setattr(reading.parse, "parse", broken)
    found = reading.read(gzip.compress(b"<feedback/>"), "x", LIMITS, NOW)
    assert [refusal.code for refusal in found.refusals] == ["fault"]
    assert "made to fail" in found.refusals[0].message


def test_zlib_without_a_report_is_no_report() -> None:
    found = reading.read(zlib.compress(b"hello"), "x", LIMITS, NOW)
    assert [refusal.code for refusal in found.refusals] == ["not_a_report"]
