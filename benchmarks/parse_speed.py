"""Compares the CPU time of parsing with parsedmarc's: same bytes, look-ups off; prints the median of pairs."""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks import corpus
from benchmarks.peer import PARSEDMARC

CACHE = Path(".cache/bench")
ONE = Path(__file__).parent / "parse_one.py"
RECORDS = 100_000
SMALL = 2_000


class Case(NamedTuple):
    """What is parsed, and the ratio and peak memory (MiB) that must be reached."""

    name: str
    inputs: list[Path]
    ratio: float
    peak: float = 350


class Result(NamedTuple):
    """Medians over the pairs: CPU seconds of parsedmarc and of dmarcview, their ratio, and our largest peak in MiB."""

    case: Case
    theirs: float
    ours: float
    ratio: float
    peak: float

    @property
    def reached(self) -> bool:
        """Ratio and memory are within what is asked."""
        return self.ratio >= self.case.ratio and self.peak <= self.case.peak


def cases(cache: Path = CACHE) -> list[Case]:
    """The four corpora; generated when they are not there."""
    distinct = corpus.cached(cache, "distinct", RECORDS, distinct=True)
    lifelike = corpus.cached(cache, "lifelike", RECORDS, distinct=False)
    folder = cache / f"small-{SMALL}"
    if not folder.exists():
        folder.mkdir(parents=True)
        for number, xml in enumerate(corpus.small(SMALL)):
            (folder / f"{number:05}.xml.gz").write_bytes(gzip.compress(xml, mtime=0))
    mails = cache / f"mails-{SMALL}"
    if not mails.exists():
        mails.mkdir(parents=True)
        for path in sorted(folder.iterdir()):
            (mails / f"{path.name}.eml").write_bytes(corpus.mail(path.read_bytes(), path.name))
    return [
        Case("one report, 100,000 records that all differ", [distinct], 16),
        Case("one report, 100,000 lifelike records", [lifelike], 48),
        Case("2,000 reports of 1 to 5 records", sorted(folder.iterdir()), 7),
        Case("the same as mails", sorted(mails.iterdir()), 5.7),
    ]


def measure(case: Case, pairs: int) -> Result:
    """Run both programs in turn, each in its own process."""
    warm = min(case.inputs[0].parent.glob("*")) if len(case.inputs) > 1 else min(CACHE.glob(f"small-{SMALL}/*"))
    peer = PARSEDMARC.parent / "python"
    theirs, ours, peaks = [], [], []
    for _ in range(pairs):
        one, other = (
            _run(peer, "parsedmarc", [warm, *case.inputs]),
            _run(Path(sys.executable), "dmarcview", [warm, *case.inputs]),
        )
        if one["records"] != other["records"]:
            raise RuntimeError(f"parsedmarc read {one['records']} records, dmarcview {other['records']}")
        theirs.append(one["cpu"])
        ours.append(other["cpu"])
        peaks.append(other["peak"])
    ratio = statistics.median(a / b for a, b in zip(theirs, ours, strict=True))
    return Result(case, statistics.median(theirs), statistics.median(ours), ratio, max(peaks))


def _run(python: Path, program: str, inputs: list[Path]) -> dict[str, float]:
    done = subprocess.run([python, ONE, program, *inputs], check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def line(result: Result) -> str:
    """One line for people."""
    mark = "ok  " if result.reached else "MISS"
    return (
        f"{mark} {result.case.name}: {result.ratio:.1f} x (asked {result.case.ratio:g} x) - "
        f"parsedmarc {result.theirs:.2f} s, dmarcview {result.ours:.3f} s of CPU, "
        f"peak {result.peak:.0f} MiB (asked {result.case.peak:g})"
    )


def main(arguments: list[str] | None = None) -> int:
    """Print each case; 1 when one of them is not reached."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pairs", type=int, default=3)
    chosen = options.parse_args(arguments)
    results = []
    for case in cases():
        results.append(measure(case, chosen.pairs))
        print(line(results[-1]), flush=True)
    return 0 if all(result.reached for result in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
