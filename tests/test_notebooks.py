"""The ten notebooks: text and .ipynb are the same, nothing is stored in them, and each runs offline in seconds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import need

from dmarcview.analysis import renderer, shelf
from dmarcview.store import Store
from tests.notebook_pairs import FOLDER, paired, texts
from tests.notebook_run import GUARD, SECONDS

ROOT = Path(__file__).parent.parent
NAMES = [text.stem for text in texts()]
CPU_SECONDS = 30  # on two cores that others use too, time on the wall says little
OUTSIDE = re.compile(r"https?://[^\s\"'\\<>]+|[\"'(]//[a-z]")


def run(notebook: Path, out: Path, *values: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.notebook_run", str(notebook), str(out), *values]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=5 * SECONDS, check=False)


def outputs(book: Any) -> Iterator[str]:
    """All that the cells put out, as text, without the source of Plotly itself."""
    library = renderer.library()
    for cell in book.cells:
        for output in cell.get("outputs", []):
            yield json.dumps(output).replace(json.dumps(library)[1:-1], "")


def test_there_are_ten_and_each_says_its_question() -> None:
    found = shelf.notebooks()
    assert [one.name for one in found] == NAMES
    assert [one.name[:2] for one in found] == [f"{number:02}" for number in range(1, 11)]
    assert all(one.title.startswith(one.name[:2]) and one.question.endswith((".", "?")) for one in found)


@pytest.mark.parametrize("name", NAMES)
def test_text_and_notebook_are_the_same_and_nothing_is_stored_in_it(name: str) -> None:
    written = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert written == paired(FOLDER / f"{name}.py"), "run `make notebooks`"
    book: Any = nbformat.reads(written, 4)
    code = [cell for cell in book.cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert book.metadata["kernelspec"]["name"] == "python3"
    tagged = [cell for cell in code if "parameters" in cell["metadata"].get("tags", [])]
    assert tagged == code[:1]
    assert "print(study)" in code[1]["source"]
    assert code[-1]["source"].count("assert ") >= 5


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_each_runs_offline_in_seconds_and_names_no_outside_address(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    done = run(FOLDER / f"{name}.ipynb", tmp_path / "out.ipynb")
    assert done.returncode == 0, done.stderr[-3000:]
    cpu = float(done.stdout.split()[-1])
    with capsys.disabled():
        print(f"\n{name}: {time.monotonic() - began:.0f} s, {cpu:.0f} s of CPU", end=" ")
    assert cpu < CPU_SECONDS
    book: Any = nbformat.read(tmp_path / "out.ipynb", 4)
    said = list(outputs(book))
    assert said
    for text in said:
        assert not OUTSIDE.search(text), OUTSIDE.search(text)
    drawn = [one for cell in book.cells for one in cell.get("outputs", []) if renderer.MIME in one.get("data", {})]
    assert drawn
    assert all(one["data"][renderer.MIME]["config"]["plotlyServerURL"] == "" for one in drawn)


def test_the_kernel_of_these_tests_reaches_nothing_outside() -> None:
    code = (
        "import socket\n"
        "for ask in (lambda: socket.create_connection(('192.0.2.1', 80), 1),\n"
        "            lambda: socket.getaddrinfo('example.org', 80),\n"
        "            lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))):\n"
        "    try:\n        ask()\n    except OSError as error:\n        print(str(error).partition(':')[0])\n"
    )
    environment = os.environ | {"PYTHONPATH": str(GUARD)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["offline"] * 3


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_copy_on_an_own_store_reads_that_store_and_changes_nothing(tmp_path: Path) -> None:
    from dashboard_data import fill

    with fill(tmp_path / "data", days=60) as store:
        expected = int(store.snapshot().version)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data" / "records").rglob("*.parquet")}
    done = run(FOLDER / "01-quickstart.ipynb", tmp_path / "out.ipynb", f"STORE={str(tmp_path / 'data')!r}",
               "DOMAINS=['example.com']", "SINCE='2026-10-20'")  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    text = (tmp_path / "out.ipynb").read_text(encoding="utf-8")
    assert "example.com, 2026-10-20 to" in text
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "data" / "records").rglob("*.parquet")}
    with Store.open(tmp_path / "data", read_only=True) as store:
        assert int(store.snapshot().version) == expected


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_page_made_of_a_notebook_draws_its_charts_without_the_network(tmp_path: Path) -> None:
    path = need("chromium", "chromium")
    from nbconvert import HTMLExporter
    from playwright.sync_api import sync_playwright

    done = run(FOLDER / "10-fleet.ipynb", tmp_path / "out.ipynb")
    assert done.returncode == 0, done.stderr[-3000:]
    exporter = HTMLExporter()
    exporter.require_js_url = exporter.mathjax_url = ""  # nbconvert's own page asks for these; ours do not
    page_file = tmp_path / "out.html"
    page_file.write_text(exporter.from_filename(str(tmp_path / "out.ipynb"))[0], encoding="utf-8")
    outside: list[str] = []
    faults: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else outside.append(r.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(page_file.as_uri())
        page.wait_for_selector(".main-svg", timeout=60_000)
        charts = page.locator(".js-plotly-plot").count()
        browser.close()
    assert charts >= 2
    assert outside == []
    assert faults == []
