"""Several processes as one: started in order, watched, started again when they die, stopped in order.

A child is a command of our own. It says that it is up by writing its status file; it stops on SIGTERM, and also when
its standard input ends, so that a supervisor that is killed leaves nobody behind.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before a dead child is started again, doubled each time
GOOD_RUN = 60.0  # a child that lived this long begins with the first wait again
READY_SECONDS = 60.0
STOP_SECONDS = 20.0
TICK = 0.1
WRONG_USE = 2  # exit code of a child whose settings are wrong: starting it again cannot help


class ServiceError(Exception):
    """The service cannot run; the text says why."""


@dataclass(slots=True)
class Child:
    """One process of the service, and how it fares."""

    name: str
    arguments: Sequence[str]
    status: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    wait: float = FIRST_WAIT
    again_at: float = 0.0
    deaths: int = field(default=0)
    reloads: bool = False  # reads its settings again on SIGHUP, and needs no new start for them


def write_status(path: Path, facts: dict[str, Any]) -> None:
    """Say that this process is up. Whoever reads the file sees all of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps({"pid": os.getpid(), **facts}) + "\n", encoding="utf-8")
    fresh.replace(path)


def read_status(path: Path) -> dict[str, Any] | None:
    """What `write_status` wrote; None when there is nothing yet."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def lives(path: Path) -> bool:
    """Whether the process that wrote this status file still runs."""
    status = read_status(path)
    if status is None:
        return False
    try:
        os.kill(int(status["pid"]), 0)
    except (ProcessLookupError, ValueError, TypeError, KeyError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


class Stop:
    """Wakes a waiting loop when it is time to end (SIGTERM, SIGINT) or to read the settings again (SIGHUP).

    A handler may run while the loop holds any lock, so it only sets a flag and writes to a pipe.
    """

    def __init__(self) -> None:
        self.ending = False
        self.hangup = False
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._waker, False)

    def install(self, *, with_parent: bool = False) -> Stop:
        """Take the signals of this process. `with_parent` also ends it when standard input does."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.end())
        signal.signal(signal.SIGHUP, lambda *_: self.hang_up())
        if with_parent:
            threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
        return self

    def end(self) -> None:
        """Ask for the end, from any thread."""
        self.ending = True
        self._rouse()

    def hang_up(self) -> None:
        """Ask for a reload, from any thread."""
        self.hangup = True
        self._rouse()

    def _rouse(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it is awake anyway
            os.write(self._waker, b"!")

    def __call__(self, seconds: float) -> bool:
        """Sleep, but not past a signal; True when it is time to end."""
        if not self.ending and select.select([self._wake], [], [], seconds)[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 512)
        return self.ending


def _end_with_parent() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 512):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


class Supervisor:
    """Runs children until told to stop. `check` is called on SIGHUP and says whether the new settings can be used."""

    def __init__(
        self,
        children: Sequence[Child],
        stop: Stop,
        *,
        check: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.children = children
        self.stop = stop
        self.check = check
        self.clock = clock

    def start(self) -> dict[str, dict[str, Any]]:
        """Start all in order, each when the one before is up; returns their status. Raises ServiceError."""
        found = {}
        for child in self.children:
            self._start(child)
            found[child.name] = self._await(child)
        return found

    def watch(self) -> None:
        """Until the stop comes: start the dead again; on SIGHUP start all again, one after the other."""
        while not self.stop(TICK):
            if self.stop.hangup:
                self.stop.hangup = False
                if self.check():
                    self._reload()
            for child in self.children:
                self._look_after(child)

    def end(self) -> None:
        """Stop all in the order of their start: first no more mail comes in, then what came is stored."""
        for child in self.children:
            _stop(child)

    def _start(self, child: Child) -> None:
        with contextlib.suppress(FileNotFoundError):
            child.status.unlink()
        command = [sys.executable, "-m", "dmarcview", *child.arguments, "--status", str(child.status), "--with-parent"]
        child.process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        child.started = self.clock()

    def _await(self, child: Child) -> dict[str, Any]:
        assert child.process is not None
        until = self.clock() + READY_SECONDS
        while self.clock() < until and not self.stop.ending:
            status = read_status(child.status)
            if status is not None and status.get("pid") == child.process.pid:
                return status
            code = child.process.poll()
            if code is not None:
                raise ServiceError(
                    f"`dmarcview {child.name}` ended with code {code} while starting; see its message above"
                )
            time.sleep(0.02)
        if self.stop.ending:
            return {}
        raise ServiceError(f"`dmarcview {child.name}` was not up after {READY_SECONDS:.0f} s")

    def _look_after(self, child: Child) -> None:
        now = self.clock()
        if child.process is not None:
            code = child.process.poll()
            if code is None:
                return
            _close(child)
            child.deaths += 1
            if now - child.started > GOOD_RUN:
                child.wait = FIRST_WAIT
            child.again_at = now + child.wait
            log.error("%s ended with code %s; starting it again in %.1f s", child.name, code, child.wait)
            child.wait = min(LONGEST_WAIT, child.wait * 2)
        elif now >= child.again_at:
            self._start(child)

    def _reload(self) -> None:
        log.info("settings read again; the processes start anew")
        for child in self.children:
            if child.reloads and child.process is not None and child.process.poll() is None:
                child.process.send_signal(signal.SIGHUP)
                continue
            _stop(child)
            if self.stop.ending:
                return
            self._start(child)
            try:
                self._await(child)
            except ServiceError as error:
                log.error("%s", error)


def _stop(child: Child) -> None:
    if child.process is None:
        return
    with contextlib.suppress(ProcessLookupError):
        child.process.terminate()
    try:
        child.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        log.error("%s did not stop in %.0f s; it is killed, what it held is taken up at the next start",
                  child.name, STOP_SECONDS)  # fmt: skip
        child.process.kill()
        child.process.wait()
    _close(child)


def _close(child: Child) -> None:
    if child.process is not None and child.process.stdin is not None:
        child.process.stdin.close()
    child.process = None
