"""Paths become inputs: files, folders, globs, mboxes, Maildirs, stdin; what cannot be read is an input too."""

import io
import json
import os
from pathlib import Path

import pytest

from dmarcview_reports import inputs, reading
from dmarcview_reports.errors import Refused
from dmarcview_reports.inputs import Input
from dmarcview_reports.settings import Limits

LIMITS = Limits()
SAMPLES = Path(__file__).parent.parent / "reports" / "samples"
MAIL = b"From: a@example.net\nSubject: x\n\nhello\n"
MBOX = b"".join(b"From a@example.net Fri Jan  2 03:04:0%d 2026\n%s\n" % (n, MAIL) for n in range(3))


def walk(*paths: object, limits: Limits = LIMITS, stdin: bytes = b"") -> list[Input]:
    return list(inputs.walk([str(path) for path in paths], limits, io.BytesIO(stdin)))


def names(found: list[Input], top: Path) -> list[str]:
    return [one.name.removeprefix(f"{top}/") for one in found]


def code(one: Input) -> str | None:
    return one.refusal.code if one.refusal else None


def test_folder_is_walked_sorted_and_without_hidden_names(tmp_path: Path) -> None:
    for name in ("b/2.xml", "b/1.xml", "a.xml", ".hidden.xml", ".git/x", "b/.DS_Store", "c/d/e/f.eml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(MAIL)
    assert names(walk(tmp_path), tmp_path) == ["a.xml", "b/1.xml", "b/2.xml", "c/d/e/f.eml"]
    assert inputs.estimate([tmp_path]) == (4, 4 * len(MAIL))


def test_links_that_lead_round_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.eml").write_bytes(MAIL)
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    found = walk(tmp_path)
    assert [name for name in names(found, tmp_path) if name.startswith("a/")] == ["a/x.eml"]
    assert {one.name: code(one) for one in found}[str(tmp_path / "self")] == "unreadable"


def test_maildir_gives_cur_and_new_and_subfolders_only(tmp_path: Path) -> None:
    for name in ("cur/1:2,S", "new/2", "tmp/3", ".Reports/cur/4", ".Reports/new/5", ".Reports/tmp/6", "dovecot.index"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(MAIL)
    assert names(walk(tmp_path), tmp_path) == [".Reports/cur/4", ".Reports/new/5", "cur/1:2,S", "new/2"]


def test_mbox_gives_its_mails_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "box").write_bytes(MBOX)
    (tmp_path / "one.eml").write_bytes(MBOX[: len(MBOX) // 3])
    found = walk(tmp_path / "box", tmp_path / "one.eml")
    assert names(found, tmp_path) == ["box#1", "box#2", "box#3", "one.eml"]
    assert {one.load().strip() for one in found} == {MAIL.strip()}


def test_large_mbox_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "EAGER", 10)
    (tmp_path / "box").write_bytes(MBOX)
    assert names(walk(tmp_path / "box"), tmp_path) == ["box#1", "box#2", "box#3"]


def test_large_file_is_left_to_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "EAGER", 10)
    (tmp_path / "a.eml").write_bytes(MAIL)
    (found,) = walk(tmp_path / "a.eml")
    assert found.data is None
    assert found.load() == MAIL
    (tmp_path / "a.eml").unlink()
    with pytest.raises(Refused, match="unreadable"):
        found.load()


def test_file_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "big.xml").open("wb") as file:
        file.truncate(10**12)  # a hole: reading it would take a terabyte
    (found,) = walk(tmp_path / "big.xml")
    assert code(found) == "too_large"
    assert found.refusal is not None
    assert "[limits] xml_bytes" in found.refusal.message


def test_missing_path_and_empty_glob_are_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(MAIL)
    found = walk(tmp_path / "gone", tmp_path / "*.zip", tmp_path / "*.eml")
    assert [code(one) for one in found] == ["unreadable", "unreadable", None]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(MAIL)
    (tmp_path / "a.eml").chmod(0)
    assert [code(one) for one in walk(tmp_path)] == ["unreadable"]


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert [code(one) for one in walk(tmp_path, "/dev/zero")] == ["unreadable", "unreadable"]


def test_glob_reaches_into_folders(tmp_path: Path) -> None:
    for name in ("a/1.eml", "a/b/2.eml", "a/b/3.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(MAIL)
    assert names(walk(tmp_path / "**" / "*.eml"), tmp_path) == ["a/1.eml", "a/b/2.eml"]


def test_name_with_glob_signs_that_exists_is_itself(tmp_path: Path) -> None:
    (tmp_path / "a[1].eml").write_bytes(MAIL)
    assert names(walk(tmp_path / "a[1].eml"), tmp_path) == ["a[1].eml"]


def test_stdin_is_read_whole_or_split_as_mbox() -> None:
    assert [(one.name, one.load()) for one in walk("-", stdin=MAIL)] == [("stdin", MAIL)]
    assert [one.name for one in walk("-", stdin=MBOX)] == ["stdin#1", "stdin#2", "stdin#3"]
    assert [code(one) for one in walk("-", stdin=b"x" * 101, limits=Limits(xml_bytes=100))] == ["too_large"]


PARSEDMARC = {
    "xml_schema": "1.0",
    "report_metadata": {
        "org_name": "Example Receiver",
        "org_email": "noreply@receiver.example.net",
        "org_extra_contact_info": None,
        "report_id": "1",
        "begin_date": "2026-01-01 01:00:00",  # local time, as parsedmarc writes it
        "end_date": "2026-01-03 01:00:00",
        "errors": [],
    },
    "policy_published": {
        "domain": "example.com",
        "adkim": "r",
        "aspf": "r",
        "p": "none",
        "sp": "none",
        "pct": "100",
        "fo": "0",
    },
    "records": [
        {
            "interval_begin": f"2026-01-0{day} 00:00:00",
            "interval_end": f"2026-01-0{day + 1} 00:00:00",
            "normalized_timespan": True,
            "source": {"ip_address": "192.0.2.1", "country": None},
            "count": 5,
            "alignment": {"spf": False, "dkim": True, "dmarc": True},
            "policy_evaluated": {
                "disposition": "none",
                "dkim": "pass",
                "spf": "fail",
                "policy_override_reasons": [{"type": "forwarded", "comment": None}],
            },
            "identifiers": {"header_from": "example.com", "envelope_from": "example.org", "envelope_to": None},
            "auth_results": {
                "dkim": [{"domain": "example.com", "selector": "a", "result": "pass", "human_result": None}],
                "spf": [{"domain": "example.org", "scope": "mfrom", "result": "pass", "human_result": None}],
            },
        }
        for day in (1, 2)
    ],
}


@pytest.mark.parametrize("form", ["object", "array", "lines", "wrapper", "indented"])
def test_parsedmarc_json_becomes_reports(form: str) -> None:
    text = {
        "object": json.dumps(PARSEDMARC),
        "array": json.dumps([PARSEDMARC]),
        "lines": json.dumps(PARSEDMARC) + "\n",
        "wrapper": json.dumps(
            {"aggregate_reports": [PARSEDMARC], "failure_reports": [{"x": 1}], "smtp_tls_reports": []}
        ),
        "indented": json.dumps([PARSEDMARC], indent=2),
    }[form]
    found = reading.read(text.encode(), "aggregate.json", LIMITS, 1_798_761_600)
    (report,) = found.reports
    assert found.refusals == ()
    assert (report.submitter, report.domain, report.report_id) == ("receiver.example.net", "example.com", "1")
    assert (report.begin, report.end) == (1767225600, 1767398400)  # UTC, from the records
    (record,) = report.records  # parsedmarc cut it into days
    assert (record.source_ip, record.count) == ("192.0.2.1", 10)
    assert (record.shape.dkim_aligned, record.shape.spf_aligned, record.shape.dmarc_pass) == (True, False, True)
    assert record.shape.override_types == ("forwarded",)
    assert record.shape.dkim[0].selector == "a"
    assert report.warning_counts["imported"] == 1


def test_parsedmarc_file_that_is_cut_keeps_the_whole_reports() -> None:
    text = json.dumps([PARSEDMARC, PARSEDMARC]).encode()
    found = reading.read(text[:-100], "aggregate.json", LIMITS, 1_798_761_600)
    assert len(found.reports) == 1
    assert [refusal.code for refusal in found.refusals] == ["bad_json"]


def test_parsedmarc_json_in_a_mail_is_no_report() -> None:
    """Another program's history is the user's to import, never a stranger's to mail."""
    raw = b"From: a@example.net\nContent-Type: application/json\n\n" + json.dumps(PARSEDMARC).encode()
    found = reading.read(raw, "x", LIMITS, 1_798_761_600)
    assert [refusal.code for refusal in found.refusals] == ["not_a_report"]
