"""What a visitor waits for: the first data of each page, and every answer to a click, in a real Chromium.

    python -m benchmarks.pages_speed [--rounds 5] [--data DIR]

The store has the demo's year, its incidents included, or is the one in DIR. Prints the time from the start of
`dmarcview dashboard` until it listens, from an address to the first data on the screen (of a process that has just
begun to listen, then of one that runs; always with an empty cache), and the times of the callbacks as the browser has
them, over a tour of all pages, domains, periods and some sources, with the CPU time of the server for each: on a busy
machine trust that. Wanted: first data below 3 s, 95 of 100 callbacks below 300 ms. Needs Chromium, and Linux for the
CPU time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dmarcview import query
from dmarcview.alerts import memory
from dmarcview.alerts.evaluate import evaluate
from dmarcview.config import Config
from dmarcview.demo import reports, rhythm, sentlog, traffic
from dmarcview.demo.browser import FLAGS, program
from dmarcview.store import Store
from dmarcview.upkeep import classify
from dmarcview_reports import reading
from dmarcview_reports.model import Origin, Taken
from dmarcview_reports.settings import Limits

FIRST_SECONDS = 3.0
CALLBACK_SECONDS = 0.3
PATIENCE = 60_000  # milliseconds
SOURCES = 5
PERIODS = (7, 90, 365)
# what of a page is there when its first data is
DATA = {
    "": "#tile-own-pass[data-value]",
    "sources": "#sources-grid .ag-row",
    "reports": "#reports-grid .ag-row",
    "intake": "#intake-received[data-value]",
    "sent": "#sent-grid .ag-row",
    "reconcile": "#reconcile-sent[data-value]",
    "alerts": "#alerts-open .incident",
}
QUIET = 500  # milliseconds after a click
GO = """(to) => { history.pushState({}, '', to); window.dispatchEvent(new CustomEvent('_dashprivate_pushstate')); }"""


def fill(folder: Path) -> None:
    """The demo's year with the relay's log, classified, and the incidents that are found in it."""
    today = datetime.now(UTC).date()
    now = rhythm.midnight(today)
    with Store.open(folder) as store:
        taken = []
        for number, made in enumerate(traffic.year(today)):
            xml = reports.xml(made)
            taken.append(Taken(Origin(f"{number}", now), xml, reading.read(xml, f"{number}", Limits(), now)))
        store.append_many(taken)
        sentlog.put(store, today, days=traffic.DAYS, until=now)
        classify(store, Config(), now)
        store.flush()
        store.compact()
        memory.settle(store.ledger, evaluate(store, Config(), now), now)


@contextmanager
def dashboard(folder: Path) -> Iterator[tuple[str, float, int]]:
    """A dashboard process of its own: where it is, the seconds until it said so, and its number."""
    start = time.monotonic()
    command = [sys.executable, "-m", "dmarcview", "dashboard", "--data", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            yield line.partition("pages: ")[2].strip(), time.monotonic() - start, process.pid
        finally:
            process.terminate()


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def first_data(browser: Any, url: str, path: str) -> float:
    """Seconds from an address to its first data, for a visitor who was never here."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    start = time.monotonic()
    page.goto(url + path, wait_until="commit", timeout=PATIENCE)
    page.wait_for_selector(DATA[path], state="attached", timeout=PATIENCE)
    spent = time.monotonic() - start
    context.close()
    return spent


def tour(browser: Any, url: str, domains: list[str], sources: list[tuple[str, str]]) -> dict[str, list[float]]:
    """Milliseconds of each callback, by what it draws, for a visitor who goes from page to page and filters each."""
    views = [f"?days={days}" for days in PERIODS] + [f"?domain={name}" for name in domains]
    views += [f"?domain={name}&days=365" for name in domains] + ["?class=own", "?class=unknown", "?result=fail"]
    drawers = [f"?source={domain}~{ip}" for domain, ip in sources]
    found: dict[str, list[float]] = defaultdict(list)

    def note(request: Any) -> None:
        if "_dash-update-component" in request.url:
            found[request.post_data_json["output"]].append(request.timing["responseEnd"])

    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.on("requestfinished", note)
    for path in DATA:
        page.goto(url + path, wait_until="networkidle", timeout=PATIENCE)
        for view in [*views, *(drawers if path == "sources" else [])]:
            page.evaluate(GO, url + path + view)
            page.wait_for_timeout(QUIET)
            page.wait_for_load_state("networkidle", timeout=PATIENCE)
    context.close()
    return found


def main(arguments: list[str] | None = None) -> int:
    """Print the times; 1 when they are longer than wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path)
    wanted = parser.parse_args(arguments)
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory(prefix="dmarcview-bench-") as folder, sync_playwright() as driver:
        data = wanted.data or Path(folder)
        if wanted.data is None:
            fill(data)
        with Store.open(data) as store:
            domains = [str(name) for name in query.domains(store)["domain"]][:SOURCES]
            top = query.sources(store, limit=SOURCES)
            sources = [(str(d), str(ip)) for d, ip in zip(top["domain"], top["source_ip"], strict=True)]
        browser = driver.chromium.launch(executable_path=program(), args=list(FLAGS))
        cold = []
        for _ in range(wanted.rounds):
            with dashboard(data) as (url, up, _):
                cold.append((up, first_data(browser, url, "")))
        with dashboard(data) as (url, _, pid):
            first_data(browser, url, "")
            warm = {path: [first_data(browser, url, path) for _ in range(wanted.rounds)] for path in DATA}
            before = cpu(pid)
            answers = tour(browser, url, domains, sources)
            spent = cpu(pid) - before
        browser.close()
    return told(cold, warm, answers, spent)


def told(
    cold: list[tuple[float, float]], warm: dict[str, list[float]], answers: dict[str, list[float]], spent: float
) -> int:
    """Print what was measured; 1 when it is longer than wanted."""
    start, first = (statistics.median(times) for times in zip(*cold, strict=True))
    print(f"dashboard started and listening: median {start:.2f} s; its first page then {first:.2f} s")
    slowest = 0.0
    for path, times in warm.items():
        slowest = max(slowest, statistics.median(times))
        print(f"first data of /{path}: median {statistics.median(times):.2f} s, longest {max(times):.2f} s")
    for output, times in sorted(answers.items(), key=lambda item: -max(item[1])):
        name = output.strip(".").partition("...")[0]
        print(f"  {name}: {len(times)} answers, median {statistics.median(times):.0f} ms, longest {max(times):.0f} ms")
    every = sorted(spent for times in answers.values() for spent in times)
    print(f"the server's CPU time for each callback: {1000 * spent / len(every):.0f} ms")
    p95 = every[min(len(every) - 1, round(0.95 * len(every)))] / 1000
    print(
        f"{len(every)} callbacks: median {statistics.median(every):.0f} ms, 95 of 100 below {p95 * 1000:.0f} ms "
        f"(wanted: {CALLBACK_SECONDS * 1000:.0f} ms); first data {max(slowest, first):.2f} s "
        f"(wanted: {FIRST_SECONDS:.0f} s)"
    )
    return int(max(slowest, first) > FIRST_SECONDS or p95 > CALLBACK_SECONDS)


if __name__ == "__main__":
    raise SystemExit(main())
