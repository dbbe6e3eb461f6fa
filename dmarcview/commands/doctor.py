"""`dmarcview doctor`: what is well and what is not, each with what to do."""

from __future__ import annotations

import argparse
import sys

from dmarcview.commands import settings
from dmarcview.exits import REFUSED, TAKEN
from dmarcview.terminal import is_tty, print_json, safe

_COLOURS = {"ok": "\x1b[32m", "warn": "\x1b[33m", "fail": "\x1b[31m"}


def run(args: argparse.Namespace) -> int:
    """Print every finding as it is made; 1 when one of them is a fail."""
    from dmarcview.config import ConfigError
    from dmarcview.doctor import FAIL, Finding, examine

    try:
        found = settings(args)
    except ConfigError as error:
        faults = [Finding(FAIL, "settings", str(fault), "Mend the settings file.") for fault in error.faults]
        _print(faults, args.json)
        return REFUSED
    findings = [Finding("ok", "settings", "no fault")]
    if not args.json:
        _print(findings, False)
    for finding in examine(found, network=not args.no_network):
        findings.append(finding)
        if not args.json:
            _print([finding], False)
    if args.json:
        _print(findings, True)
    return REFUSED if any(finding.state == FAIL for finding in findings) else TAKEN


def _print(findings: list, as_json: bool) -> None:  # type: ignore[type-arg]
    if as_json:
        print_json([finding._asdict() for finding in findings])
        return
    for finding in findings:
        begin, end = (_COLOURS[finding.state], "\x1b[0m") if is_tty(sys.stdout) else ("", "")
        print(f"{begin}{finding.state:4}{end}  {safe(finding.check)}: {safe(finding.found)}")
        if finding.advice:
            print(f"      {safe(finding.advice)}")
