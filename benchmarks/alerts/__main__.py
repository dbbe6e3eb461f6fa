"""Alerts beside the rules of other tools: `python -m benchmarks.alerts [--runs 20] [--tune | --grid]`.

Reports on made-up domains, asked every morning of what had arrived by then. The parameters of ours were settled on the
tuning half of `scenarios.toml` (`--tune`: one parameter at a time; `--grid`: combinations); what is printed without
these is the held-out half, with other seeds and other parameters of every scenario. Exit code 1 when a must is missed.
"""

from __future__ import annotations

import argparse
import sys
import time

from . import companions, report, speed
from .rules import OURS, Mornings, alarms, default_rules
from .scenarios import load
from .score import truth
from .tune import tune
from .world import AFTER, simulate


def main(arguments: list[str] | None = None) -> int:
    """Score the held-out half; 1 when a must is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.alerts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=20, help="domains for each scenario and world")
    parser.add_argument("--tune", action="store_true", help="the tuning half, one parameter of ours at a time")
    parser.add_argument("--grid", action="store_true", help="the tuning half, combinations of parameters")
    args = parser.parse_args(arguments)
    if args.tune or args.grid:
        return tune(args.runs, args.grid)
    begin = time.monotonic()
    half = load("held_out")
    reports, owners = simulate(half, args.runs)
    size = f"{len(half.scenarios)} pairs of scenario and world, {len(owners)} domains, {len(reports.run):,} reports"
    print(f"held-out half, seed {half.seed}: {size}.")
    print(f"The parameters were settled on the tuning half (seed {load('tuning').seed}; other volumes, shares, sizes),")
    print("never on this one. Asked every morning of what had arrived. SPF, DKIM and DMARC are three series of a")
    print(f"domain; a false alarm of any of them counts. Each fault is followed for {AFTER} days.\n")
    held, true = alarms(Mornings.of(reports, len(owners)), default_rules()), truth(reports, owners)
    scores = report.overall(held, true, owners)
    report.by_scenario(held, true, owners)
    found = report.musts(held[OURS], true, owners) + report.beside_peers(scores)
    print()
    companions.bursts(reports, owners)
    companions.silences(reports, owners)
    took = speed.measure()
    found.append(
        report.Must(f"10,000 series judged within {speed.WANTED:.0f} s", f"{took:.2f} s", took <= speed.WANTED)
    )
    code = report.verdict(found)
    print(f"\n({time.monotonic() - begin:.0f} s)")
    return code


if __name__ == "__main__":
    sys.exit(main())
