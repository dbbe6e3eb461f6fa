"""Every mail and archive sample gives the answer that lies beside it, written by hand."""

import json
from pathlib import Path

import pytest

from dmarcview_reports import reading
from dmarcview_reports.settings import Limits

SAMPLES = Path(__file__).parent.parent / "reports" / "samples"
NOW = 1_798_761_600  # 2027-01-01
INPUTS = sorted(
    path
    for folder in ("mail", "archive")
    for path in (SAMPLES / folder).iterdir()
    if path.suffix not in (".json", ".txt")
)


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_sample_gives_its_answer(path: Path) -> None:
    line = reading.json_line(reading.read(path.read_bytes(), "x", Limits(), NOW))
    del line["input"]
    assert json.loads(json.dumps(line)) == json.loads(answer_of(path, ".json"))


def answer_of(path: Path, suffix: str) -> str:
    return (path.parent / (path.name.partition(".")[0] + suffix)).read_text("utf-8")


def test_every_sample_says_in_one_line_why_it_is_there() -> None:
    assert len(INPUTS) > 70
    for path in INPUTS:
        assert answer_of(path, ".txt").count("\n") == 1


LF_MAILS = [
    path for path in INPUTS if path.suffix == ".eml" and not any(b in path.read_bytes() for b in (b"\r", b"\x1f\x8b"))
]


@pytest.mark.parametrize("path", LF_MAILS, ids=lambda path: path.name)
def test_a_mail_of_text_lines_means_the_same_with_crlf(path: Path) -> None:
    raw = path.read_bytes()
    plain = reading.read(raw, "x", Limits(), NOW)
    other = reading.read(raw.replace(b"\n", b"\r\n"), "x", Limits(), NOW)
    assert [r.identity for r in plain.reports] == [r.identity for r in other.reports]
    assert [r.warning_counts for r in plain.reports] == [r.warning_counts for r in other.reports]
    assert [r.code for r in plain.refusals] == [r.code for r in other.refusals]
    assert plain.kind == other.kind
