"""Commands as programs and people call them: their JSON, their exit codes, their tables."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dmarcview.cli import main
from dmarcview.terminal import safe, share, table

REPORTS = Path(__file__).parent / "parsedmarc"
IMPORT_KEYS = [
    "files", "mails", "reports", "records", "messages", "duplicates", "conflicts", "dropped_records", "warnings",
    "refused",
]  # fmt: skip
SUMMARY_KEYS = [
    "messages", "reports", "records", "dmarc_pass", "spf_aligned", "dkim_aligned", "begin", "end", "by_disposition",
    "by_class", "open_days",
]  # fmt: skip


class Called:
    """What a command printed and how it ended."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        out, err = self.capsys.readouterr()
        return code, out, err

    def json(self, *words: object, code: int = 0) -> Any:
        got, out, err = self(*words, "--json")
        assert got == code, err
        return json.loads(out)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Called:
    monkeypatch.chdir(tmp_path)  # no settings file of the developer's is found
    return Called(capsys)


@pytest.fixture
def data(call: Called, tmp_path: Path) -> Path:
    """A store with the two reports of tests/parsedmarc."""
    folder = tmp_path / "data"
    assert call.json("import", "--data", folder, *sorted(REPORTS.glob("*.xml")))["reports"] == 2
    return folder


def test_import_prints_one_object_with_the_documented_keys(call: Called, tmp_path: Path) -> None:
    found = call.json("import", "--data", tmp_path / "d", *sorted(REPORTS.glob("*.xml")))
    assert list(found) == IMPORT_KEYS
    assert (found["files"], found["mails"], found["reports"], found["records"], found["messages"]) == (2, 0, 2, 4, 26)
    assert found["refused"] == []


def test_import_again_finds_duplicates_and_stores_nothing_twice(call: Called, data: Path) -> None:
    found = call.json("import", "--data", data, REPORTS / "*.xml")
    assert (found["reports"], found["records"], found["messages"], found["duplicates"]) == (0, 0, 0, 2)
    assert call.json("summary", "--data", data)["messages"] == 26


def test_a_refused_input_is_listed_and_ends_with_1(call: Called, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no report")
    found = call.json("import", "--data", tmp_path / "d", tmp_path / "note.txt", code=1)
    assert [(one["input"], one["code"]) for one in found["refused"]] == [(str(tmp_path / "note.txt"), "not_a_report")]
    assert found["refused"][0]["message"]


def test_a_missing_path_is_refused_as_unreadable(call: Called, tmp_path: Path) -> None:
    found = call.json("import", "--data", tmp_path / "d", tmp_path / "nowhere.xml", code=1)
    assert [one["code"] for one in found["refused"]] == ["unreadable"]


def test_an_mbox_is_one_file_of_several_mails(call: Called, tmp_path: Path) -> None:
    mail = b"From: a@receiver.example.net\nSubject: x\nContent-Type: text/xml\n\n"
    mbox = tmp_path / "box.mbox"
    mbox.write_bytes(
        b"".join(
            b"From a@receiver.example.net Wed Jan  1 00:00:00 2025\n" + mail + file.read_bytes() + b"\n\n"
            for file in sorted(REPORTS.glob("*.xml"))
        )
    )
    found = call.json("import", "--data", tmp_path / "d", mbox)
    assert (found["files"], found["mails"], found["reports"]) == (1, 2, 2)


def test_a_report_on_a_foreign_domain_is_kept_apart_and_comes_in_when_it_is_watched(
    call: Called, tmp_path: Path
) -> None:
    conf = tmp_path / "c.toml"
    conf.write_text('[domains]\nwatched = ["example.org"]\n')
    words = ("--config", conf, "--data", tmp_path / "d")
    found = call.json("import", *words, REPORTS / "year_end.xml", code=1)
    assert found["reports"] == 0
    assert [one["code"] for one in found["refused"]] == ["unknown_domain"]
    assert [one["code"] for one in call.json("refused", "list", *words)] == ["unknown_domain"]
    conf.write_text('[domains]\nwatched = ["example.com"]\n')
    assert call.json("refused", "replay", *words)["still_refused"] == 0
    assert call.json("summary", *words)["messages"] == 16


def test_parse_prints_one_object_a_line_with_the_documented_keys(call: Called, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no report")
    code, out, _ = call("parse", "--json", REPORTS / "year_end.xml", tmp_path / "note.txt")
    assert code == 1
    good, bad = (json.loads(line) for line in out.splitlines())
    assert (good["kind"], good["refused"]) == ("aggregate", None)
    assert set(good["reports"][0]) >= {"submitter", "begin", "records", "warnings", "domain", "p"}
    assert good["reports"][0]["begin"] == "2024-12-31T00:00:00Z"
    assert [record["count"] for record in good["reports"][0]["records"]] == [12, 3, 1]
    assert (bad["kind"], bad["reports"], set(bad["refused"])) == (None, [], {"code", "message"})


def test_summary_prints_the_documented_keys_and_counts_messages(call: Called, data: Path) -> None:
    found = call.json("summary", "--data", data)
    assert list(found) == SUMMARY_KEYS
    assert (found["messages"], found["reports"], found["records"], found["dmarc_pass"]) == (26, 2, 4, 22)
    assert (found["spf_aligned"], found["dkim_aligned"]) == (10, 22)
    assert (found["begin"], found["end"]) == ("2024-12-31T00:00:00Z", "2025-01-03T00:00:00Z")
    assert sum(found["by_class"].values()) == 26


def test_summary_of_some_days_takes_the_part_of_a_long_report_that_lies_in_them(call: Called, data: Path) -> None:
    one = call.json("summary", "--data", data, "--since", "2025-01-01", "--until", "2025-01-02")
    two = call.json("summary", "--data", data, "--until", "2025-01-01")
    three = call.json("summary", "--data", data, "--since", "2025-01-02")
    assert one["messages"] + two["messages"] + three["messages"] == 26
    assert one["messages"] == 4
    assert call.json("summary", "--data", data, "--domain", "example.net")["messages"] == 0


def test_sources_reports_and_report_agree(call: Called, data: Path) -> None:
    sources = call.json("sources", "--data", data)
    assert {one["source_ip"]: one["messages"] for one in sources} == {
        "192.0.2.10": 12, "198.51.100.20": 10, "2001:db8::7": 3, "203.0.113.9": 1
    }  # fmt: skip
    reports = call.json("reports", "--data", data)
    assert {one["submitter"]: one["messages"] for one in reports} == {
        "receiver.example.net": 16, "receiver.example.org": 10
    }  # fmt: skip
    key = next(one["report_key"] for one in reports if one["messages"] == 16)
    report = call.json("report", "--data", data, key[:8])
    assert sorted(record["count"] for record in report["records"]) == [1, 3, 12]
    assert report["report_id"] == "1735689600.4711@receiver.example.net"


def test_the_raw_input_comes_back_byte_for_byte(data: Path) -> None:
    words = [sys.executable, "-m", "dmarcview"]
    listed = subprocess.run([*words, "reports", "--data", str(data), "--json"], capture_output=True, check=True)
    key = next(one["report_key"] for one in json.loads(listed.stdout) if one["messages"] == 16)
    raw = subprocess.run([*words, "report", "--data", str(data), "--raw", key], capture_output=True, check=True)
    assert raw.stdout == (REPORTS / "year_end.xml").read_bytes()


def test_a_label_wins_and_its_removal_gives_the_rule_back(call: Called, data: Path) -> None:
    def class_of() -> str:
        found = call.json("sources", "--data", data, "--ip", "203.0.113.9")
        return str(found[0]["source_class"])

    before = class_of()
    assert before == "unknown"
    call.json("label", "set", "203.0.113.9", "own", "--note", "the new host", "--data", data)
    assert class_of() == "own"
    assert [(one["value"], one["class"], one["note"]) for one in call.json("label", "--data", data)] == [
        ("203.0.113.9", "own", "the new host")
    ]
    call.json("label", "remove", "203.0.113.9", "--data", data)
    assert class_of() == before


def test_backup_and_restore_give_the_same_answers(call: Called, data: Path, tmp_path: Path) -> None:
    call.json("backup", tmp_path / "saved", "--data", data)
    call.json("restore", tmp_path / "saved", "--data", tmp_path / "again")
    assert call.json("summary", "--data", tmp_path / "again") == call.json("summary", "--data", data)


def test_reindex_rebuilds_the_same_answers_from_the_raw_inputs(call: Called, data: Path) -> None:
    before = call.json("summary", "--data", data)
    assert call.json("reindex", "--data", data)["reports"] == 2
    assert call.json("summary", "--data", data) == before


def test_prune_takes_what_is_older_and_needs_to_be_told_how_old(call: Called, data: Path) -> None:
    assert call("prune", "--data", data)[0] == 2
    call.json("prune", "--data", data, "--days", "30")
    assert call.json("summary", "--data", data)["messages"] == 0


@pytest.mark.parametrize(
    "words",
    [
        ["summary", "--data", "nowhere"],
        ["report", "abcdef", "--data", "nowhere"],
        ["label", "set", "192.0.2.1"],
        ["refused", "show"],
        ["restore", "nowhere", "--data", "d"],
        ["dashboard", "--listen", "example.org"],
    ],
)
def test_wrong_use_ends_with_2_and_one_sentence(call: Called, words: list[str]) -> None:
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert err.startswith("dmarcview: ")
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [[], ["imprt"], ["import"], ["dashboard", "--port", "70000"], ["summary", "--nope"]])
def test_what_argparse_refuses_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_wrong_day_is_wrong_use(call: Called, data: Path) -> None:
    assert call("summary", "--data", data, "--since", "yesterday")[0] == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["summary", "--since", "2026-02-01", "--until", "2026-01-01"], "is not before --until 2026-01-01"),
        (["sent", "--since", "2026-02-01", "--until", "2026-02-01"], "is not before --until 2026-02-01"),
        (["sources", "--ip", "foo"], "an address or a network, like 192.0.2.1 or 192.0.2.0/24, not 'foo'"),
    ],
)
def test_a_choice_that_can_hold_nothing_is_wrong_use(words: list[str], told: str, data: Path, capsys: Any) -> None:
    assert main([*words, "--data", str(data)]) == 2
    assert told in capsys.readouterr().err


def test_an_answer_without_a_row_says_whether_nothing_came_or_nothing_was_chosen(data: Path, capsys: Any) -> None:
    assert main(["summary", "--domain", "none.example", "--data", str(data)]) == 0
    assert "No report is of this choice" in capsys.readouterr().out


def test_faults_of_the_settings_are_all_told_and_end_with_2(call: Called, tmp_path: Path) -> None:
    conf = tmp_path / "bad.toml"
    conf.write_text("[data]\nx = 1\n[dns]\ntimeout = 0\n")
    code, _, err = call("config", "check", "--config", conf)
    assert code == 2
    assert "line 2: data.x" in err
    assert "line 4: dns.timeout" in err
    assert call("summary", "--config", conf)[0] == 2


def test_a_full_disk_is_said_with_3_and_nothing_is_half_kept(
    call: Called, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", full)
        patched.setattr(os, "fsync", full)
        code, _, err = call("import", "--data", tmp_path / "d", REPORTS / "year_end.xml")
    assert code == 3
    assert "space" in err
    assert call.json("import", "--data", tmp_path / "d", REPORTS / "year_end.xml")["messages"] == 16


def test_doctor_says_what_is_missing_and_what_to_do(call: Called, data: Path) -> None:
    code, out, _ = call("doctor", "--no-network", "--data", data, "--json")
    found = {one["check"]: one for one in json.loads(out)}
    assert found["ledger"]["state"] == "ok"
    assert found["[receive] rua"]["state"] == "warn"
    assert found["[receive] rua"]["advice"]
    assert code == (1 if any(one["state"] == "fail" for one in found.values()) else 0)


def test_the_version_comes_in_less_than_three_tenths_of_a_second() -> None:
    best = 9.0
    for _ in range(5):
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "dmarcview", "--version"], check=True, capture_output=True)
        best = min(best, time.monotonic() - began)
    assert best < 0.3


class Terminal(io.StringIO):
    """A stream that a person watches."""

    def isatty(self) -> bool:
        return True


def test_text_from_outside_cannot_steer_the_terminal() -> None:
    hostile = "a\x1b]0;owned\x07b\u202egpj\x9b31m\u200b\r\n\x00"
    shown = safe(hostile)
    assert shown.isprintable()
    assert shown.startswith("a\\x1b]0;owned\\x07b\\u202egpj\\x9b31m\\u200b")


def test_a_hostile_report_prints_no_control_character(call: Called, tmp_path: Path) -> None:
    xml = (REPORTS / "year_end.xml").read_text().replace("Example Receiver", "Evil \u202e\u009b31m\u200bName")
    (tmp_path / "evil.xml").write_text(xml, encoding="utf-8")
    call("import", "--data", tmp_path / "d", tmp_path / "evil.xml")
    key = call.json("reports", "--data", tmp_path / "d")[0]["report_key"]
    for words in (["report", key], ["reports"], ["sources"]):
        _, out, _ = call(*words, "--data", tmp_path / "d")
        assert all(line.isprintable() for line in out.splitlines())


def test_a_table_fits_eighty_columns_on_a_terminal_and_is_whole_elsewhere() -> None:
    rows = [("192.0.2.1", "a" * 70, 123456, "b" * 70), ("2001:db8::1", "日本" * 30, 7, "")]
    out = Terminal()
    table(("source", "domain", "messages", "who"), rows, right=("messages",), out=out, columns=80)
    lines = out.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
    from dmarcview.terminal import cells

    assert all(cells(line) <= 80 for line in lines)
    assert "192.0.2.1 " in lines[1]
    assert "123456" in lines[1]
    plain = io.StringIO()
    table(("source", "domain", "messages", "who"), rows, out=plain)
    assert "a" * 70 in plain.getvalue()


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 0, "-"), (1, 1, "100.0 %"), (99_999, 100_000, ">99.9 %"), (1, 100_000, "<0.1 %"), (1, 3, "33.3 %")],
)
def test_a_share_never_rounds_to_all_or_nothing(part: int, whole: int, text: str) -> None:
    assert share(part, whole) == text
