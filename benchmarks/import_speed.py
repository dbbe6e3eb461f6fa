"""A folder of reports as a whole process: ours stored and queryable, against parsedmarc writing JSON and CSV.

    python -m benchmarks.import_speed [--reports 200] [--records 1000] [--rounds 3]

Both start from the command line in turn, on the same gzipped files, look-ups off. CPU time is of the whole process,
start and end included; ours is then asked for its summary, which must hold every message.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from . import corpus, peer

DMARCVIEW = Path(sys.executable).with_name("dmarcview")
TARGET = 15
SOURCES = 3000  # addresses that send for one domain, as a provider sees them


def folder_of_reports(folder: Path, reports: int, records: int, sources: int | None) -> tuple[list[Path], int]:
    """Write the reports; returns their paths and the sum of their counts."""
    folder.mkdir(parents=True, exist_ok=True)
    paths, messages = [], 0
    for number in range(reports):
        xml = corpus.report(
            records, distinct=False, seed=number + 1, org=f"mx{number % 8}.example.com", sources=sources
        )
        messages += sum(int(part.split(b"<", 1)[0]) for part in xml.split(b"<count>")[1:])
        path = folder / f"mx{number % 8}.example.com!example.org!{number:05d}.xml.gz"
        path.write_bytes(gzip.compress(xml, 6, mtime=0))
        paths.append(path)
    return paths, messages


def ours(paths: list[Path], data: Path, messages: int) -> peer.Used:
    """Import into a new store, then check that a question sees every message."""
    shutil.rmtree(data, ignore_errors=True)
    used = peer.run([DMARCVIEW, "import", "--data", data, "--json", *paths])
    said = subprocess.run(
        [str(DMARCVIEW), "summary", "--data", str(data), "--json"], capture_output=True, text=True, check=True
    )
    assert json.loads(said.stdout)["messages"] == messages, "the store does not hold what was imported"
    return used


def theirs(paths: list[Path], out: Path) -> peer.Used:
    """The same files through parsedmarc into JSON and CSV files, offline."""
    shutil.rmtree(out, ignore_errors=True)
    used = peer.run([peer.PARSEDMARC, "--offline", "--silent", "--output", out, *paths])
    assert any(out.glob("aggregate*.csv")), "parsedmarc wrote no CSV"
    return used


def main(arguments: list[str] | None = None) -> int:
    """Print both and the ratio of the medians, for senders that recur and for a new one in each record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=200)
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args(arguments)
    for words, sources in ((f"from {SOURCES} addresses", SOURCES), ("each record from another address", None)):
        compare(words, sources, wanted)
    return 0


def compare(words: str, sources: int | None, wanted: argparse.Namespace) -> None:
    """Run both on one corpus and print."""
    with tempfile.TemporaryDirectory(prefix="dmarcview-bench-") as name:
        base = Path(name)
        paths, messages = folder_of_reports(base / "reports", wanted.reports, wanted.records, sources)
        mine, other = [], []
        for _ in range(wanted.rounds):
            mine.append(ours(paths, base / "data", messages))
            other.append(theirs(paths, base / "out"))
    title = f"{wanted.reports} x {wanted.records} records, {words}"
    print(f"{title:52} {'CPU s':>8} {'wall s':>8} {'MiB':>6}")
    for label, used in (("dmarcview import, stored and queryable", mine), ("parsedmarc, JSON and CSV files", other)):
        cpu, wall = statistics.median(u.cpu for u in used), statistics.median(u.wall for u in used)
        print(f"  {label:50} {cpu:8.2f} {wall:8.2f} {max(u.peak for u in used):6.0f}")
    ratio = statistics.median(u.cpu for u in other) / statistics.median(u.cpu for u in mine)
    print(f"  {f'ratio of CPU time (wanted: {TARGET} or more)':50} {ratio:8.1f}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
