"""`dmarcview reload`: tell what runs to read its settings again."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from dmarcview.commands import settings
from dmarcview.exits import REFUSED, TAKEN
from dmarcview.terminal import print_json

RELOADING = ("serve", "relay")  # the others read their settings when they start


def run_reload(args: argparse.Namespace) -> int:
    """Check the settings, then SIGHUP to each process of this data folder that follows them; 1 when there is none."""
    from dmarcview.service import run_folder
    from dmarcview.supervisor import read_status

    folder = run_folder(settings(args, look=True))
    told: list[str] = []
    for name in RELOADING:
        status = read_status(folder / f"{name}.json")
        pid = status.get("pid") if status else None
        if isinstance(pid, int) and _ours(pid):
            os.kill(pid, signal.SIGHUP)
            told.append(name)
            break  # serve tells its relay
    if args.json:
        print_json({"told": told})
    elif told:
        print(f"told {told[0]} to read its settings again; its log says what changed")
    else:
        print(f"nothing that could read them again runs on {folder.parent}", file=sys.stderr)
    return TAKEN if told else REFUSED


def _ours(pid: int) -> bool:
    """Whether this process runs and is one of ours: a status file may outlive its process, and numbers come again."""
    try:
        os.kill(pid, 0)
        return b"dmarcview" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except ProcessLookupError:
        return False
    except OSError:
        return not Path("/proc/self").exists()  # no /proc on this system: the number must do
