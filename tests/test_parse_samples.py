"""Every XML sample gives the answer that lies beside it, written by hand, by the fast and by the plain reader."""

import gzip
import json
from pathlib import Path

import pytest

from dmarcview_reports import reading
from dmarcview_reports.errors import Refused
from dmarcview_reports.model import Report
from dmarcview_reports.parse import parse
from dmarcview_reports.settings import Limits

FOLDER = Path(__file__).parent.parent / "reports" / "samples" / "xml"
NOW = 1_798_761_600  # 2027-01-01
INPUTS = sorted(path for path in FOLDER.iterdir() if ".xml" in path.suffixes)


def answer_of(path: Path, suffix: str) -> str:
    return (path.parent / (path.name.partition(".")[0] + suffix)).read_text("utf-8")


def content_of(path: Path) -> bytes:
    raw = path.read_bytes()
    return gzip.decompress(raw) if path.suffix == ".gz" else raw


def outcome(xml: bytes, fast: bool) -> Report | tuple[str, str]:
    try:
        return parse(xml, now=NOW, fast=fast)
    except Refused as refused:
        return refused.code, refused.message


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.name.partition(".")[0])
def test_sample_gives_its_answer(path: Path) -> None:
    line = reading.json_line(reading.read(path.read_bytes(), "x", Limits(), NOW))
    del line["input"]
    line.pop("refusals", None)
    assert json.loads(json.dumps(line)) == json.loads(answer_of(path, ".json"))


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.name.partition(".")[0])
def test_fast_and_plain_reader_agree_on_sample(path: Path) -> None:
    xml = content_of(path)
    assert outcome(xml, fast=True) == outcome(xml, fast=False)


def test_every_sample_says_in_one_line_why_it_is_there() -> None:
    assert len(INPUTS) > 80
    for path in INPUTS:
        assert answer_of(path, ".txt").count("\n") == 1
