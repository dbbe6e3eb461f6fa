"""How the benchmarks start a whole process and what they read of it: CPU seconds, wall seconds, peak memory."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PARSEDMARC = Path(".cache/bench/parsedmarc/bin/parsedmarc")


@dataclass(frozen=True, slots=True)
class Used:
    """What one process and its children used: seconds of CPU and of wall clock, MiB of the largest of them."""

    cpu: float
    wall: float
    peak: float


def run(command: Sequence[str | Path], *, good: tuple[int, ...] = (0,)) -> Used:
    """Run a command to its end, its output dropped; raises RuntimeError with the tail of it when it fails."""
    start = time.perf_counter()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    output = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    if process.returncode not in good:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}:\n{output[-2000:].decode(errors='replace')}")
    return Used(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)


def peak() -> float:
    """Largest resident size of this process so far, in MiB (not ru_maxrss: a child begins with its parent's)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
