"""The demo as a command: its own check passes, a disk that fills up is survived, and nobody's folder is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import need

from dmarcview.demo import check_year, fill, rhythm, run, traffic
from dmarcview.demo.world import World

TODAY = datetime.now(UTC).date()
COMMAND = [sys.executable, "-m", "dmarcview"]
TMPFS_MEGABYTES = 24


def test_import_of_the_written_year_says_what_was_made(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        truth = fill.prepare(world, fill.early(TODAY, days=45))
        told = fill.bring(world)
        assert (told["reports"], told["records"], told["messages"]) == (truth.reports, truth.records, truth.messages)
        assert (told["duplicates"], told["conflicts"]) == (truth.duplicates, truth.conflicts)
        assert len(told["refused"]) == truth.refused
        assert {one["code"] for one in told["refused"]} == {
            "not_a_report",
            "doctype",
            "bad_date_range",
            "future_report",
        }
        assert told["warnings"] == {}
        summary = world.ask("summary")
        for name in run.COMPARED:
            assert summary[name] == getattr(truth, name), name
        again = fill.bring(world)
        assert again["reports"] == 0
        assert world.ask("summary") == summary


def test_a_world_is_filled_with_files_mails_and_a_log_that_agree(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        world.launch()
        said: list[str] = []
        filled = fill.fill(world, TODAY, days=16, mailed=9, say=said.append)
        summary = world.ask("summary")
        for name in run.COMPARED:
            assert summary[name] == getattr(filled.truth, name), name
        told = world.ask("reconcile", "--domain", check_year.RELAYED)
        assert check_year.compare(told, filled.loop) == []
        listed = world.ask("reports", "--limit", "0")
    trusted = Counter(one["auth"] for one in listed)
    assert trusted["pass"] == len(list(fill.early(TODAY, days=9)))
    assert trusted["unknown"] > 0
    assert any("log is there" in line for line in said)


def test_reports_whose_period_is_not_over_are_not_sent_live() -> None:
    midnight = rhythm.midnight(TODAY)
    some = [next(lives) for lives in [run.lives(TODAY, midnight + 60)] for _ in range(60)]
    assert all(one.made.end <= midnight + 60 for one in some)
    assert any(one.made.end - one.made.begin == rhythm.DAY for one in some)


def test_late_reports_are_those_that_the_folder_lacks() -> None:
    days = 20
    whole = {made.report_id for made in traffic.year(TODAY, days=days)}
    early = {made.report_id for made in fill.early(TODAY, days=days)}
    late = {made.report_id for made in fill.late(TODAY, days=days)}
    assert early | late == whole
    assert not early & late
    assert len(late) >= 15


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    done = subprocess.run([*COMMAND, "demo", "--keep", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.slow
@pytest.mark.browser
def test_the_demos_own_check_passes() -> None:
    need("chromium", "chromium")
    done = subprocess.run([*COMMAND, "demo", "--check"], capture_output=True, text=True, check=False, timeout=500)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All numbers on the pages are those that were sent." in done.stdout


@pytest.mark.slow
def test_the_demo_runs_until_it_is_interrupted_and_starts_again_from_what_was_kept(tmp_path: Path) -> None:
    place = tmp_path / "kept"
    first = session(place, "250  ")
    assert "Imported" in first
    assert "Stopped." in first
    second = session(place, "250  ")
    assert "Found the demo" in second
    assert "Imported" not in second


def session(place: Path, until: str) -> str:
    """Run the demo until it printed `until`, interrupt it, and return all that it said."""
    with subprocess.Popen(
        [*COMMAND, "demo", "--keep", str(place)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as demo:
        assert demo.stdout is not None
        said = ""
        for line in demo.stdout:
            said += line
            if until in line:
                demo.send_signal(signal.SIGINT)
                break
        said += demo.stdout.read()
        assert demo.wait(60) == 0, said
    return said


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_MEGABYTES}m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs root and the right to mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def ballast_on(disk: Path, leave: int) -> Path:
    """A file that takes all of the disk but `leave` bytes."""
    ballast = disk / "ballast"
    state = os.statvfs(disk)
    ballast.write_bytes(bytes(state.f_bavail * state.f_frsize - leave))
    return ballast


def test_an_import_onto_a_full_disk_says_so_and_can_be_repeated(small_disk: Path, tmp_path: Path) -> None:
    with World(tmp_path / "world") as world:
        fill.prepare(world, fill.early(TODAY, days=8))
        into = ["import", "--data", str(small_disk / "data"), str(world.reports)]
        ballast = ballast_on(small_disk, leave=300_000)
        full = subprocess.run(world.command(*into), capture_output=True, text=True, check=False)
        assert full.returncode == 3, full.stderr
        assert "free disk space" in full.stderr
        assert "Traceback" not in full.stderr
        ballast.unlink()
        world.ask(*into)
        truth = traffic.count(fill.early(TODAY, days=8))
        summary = world.ask("summary", "--data", str(small_disk / "data"))
        for name in run.COMPARED:
            assert summary[name] == getattr(truth, name), name


def test_mail_onto_a_full_disk_is_put_off_and_taken_later(small_disk: Path, tmp_path: Path) -> None:
    with World(tmp_path / "world") as world:
        text = world.config.read_text()
        world.config.write_text(
            text.replace('dir = "data"', f'dir = "{small_disk / "data"}"').replace(
                "[receive]", "[receive]\nreserve_mb = 0"
            )
        )
        world.start()
        made = next(traffic.year(TODAY, days=3))
        mail = world.mail(made, sent=int(time.time()))
        ballast = ballast_on(small_disk, leave=0)
        code, reply = world.send(mail, made.reporter.email)
        assert (code, reply[:5]) == (452, b"4.3.1")
        ballast.unlink()
        code, reply = world.send(mail, made.reporter.email)
        assert code == 250, reply
        deadline = time.monotonic() + 30
        while (told := world.ask("summary"))["reports"] != 1:
            assert time.monotonic() < deadline, told
            time.sleep(0.2)
        assert told["messages"] == made.messages
