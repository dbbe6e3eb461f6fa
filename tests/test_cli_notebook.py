"""`dmarcview notebook`: the list, and a copy that asks the user's own store."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from dmarcview.analysis import shelf
from dmarcview.cli import main
from dmarcview.commands import notebook as command
from dmarcview.exits import WRONG_USE
from dmarcview.store import Store


def made(folder: Path) -> Path:
    """A folder with an empty store."""
    Store.open(folder).close()
    return folder


def parameters(path: Path) -> dict[str, Any]:
    """The values of the parameters cell, as Python reads them."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    (cell,) = [one for one in cells if "parameters" in one["metadata"].get("tags", [])]
    found: dict[str, Any] = {}
    exec("".join(cell["source"]), found)
    return found


def test_without_a_name_it_lists_them_with_their_questions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["notebook", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert len(listed) == 10
    assert listed[4] == {"name": "05-policy-what-if", "title": "05 Policy what-if",
                         "question": "Who would be hit at quarantine, at reject, and by strict alignment?"}  # fmt: skip


def test_a_copy_has_the_own_store_and_filters_in_its_parameters(tmp_path: Path, capsys: Any) -> None:
    settings = tmp_path / "dmarcview.toml"
    settings.write_text('[data]\ndir = "my data"\n[trust]\nunverified = true\n[reconcile]\n'
                        'receivers = {"mx.example.net" = "example.net"}\n')  # fmt: skip
    made(tmp_path / "my data")
    said = main(["notebook", "6", "--config", str(settings), "--dir", str(tmp_path / "work"), "--no-open", "--domain",
                 "example.org", "--domain", 'e"x.example', "--since", "2026-01-31"])  # fmt: skip
    assert said == 0
    found = parameters(tmp_path / "work" / "06-sent-vs-reported.ipynb")
    assert found["STORE"] == str(tmp_path / "my data")
    assert found["DOMAINS"] == ["example.org", 'e"x.example']
    assert (found["SINCE"], found["UNTIL"], found["UNVERIFIED"]) == ("2026-01-31", "", True)
    assert found["RECEIVERS"] == {"mx.example.net": "example.net"}
    assert "06-sent-vs-reported.ipynb" in capsys.readouterr().out


def test_a_copy_that_is_there_is_never_written_over(tmp_path: Path, capsys: Any) -> None:
    words = ["notebook", "quickstart", "--data", str(made(tmp_path)), "--dir", str(tmp_path), "--no-open"]
    assert main(words) == 0
    mine = tmp_path / "01-quickstart.ipynb"
    mine.write_text("my own work")
    assert main(words) == WRONG_USE
    assert mine.read_text() == "my own work"
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["notebook", "1", "--no-open"], ["alerts", "test"], ["alerts", "check"]])
def test_a_store_that_is_not_there_is_said_and_not_made(words: list[str], tmp_path: Path, capsys: Any) -> None:
    assert main([*words, "--data", str(tmp_path / "typo")]) == WRONG_USE
    assert "there is no store in" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["none-such", "1x", "-", "0"])
def test_a_name_that_is_none_or_fits_several_lists_what_there_is(name: str, tmp_path: Path, capsys: Any) -> None:
    assert main(["notebook", "--no-open", "--dir", str(tmp_path), "--", name]) == WRONG_USE
    assert "01-quickstart" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_jupyterlab_is_started_quiet_on_the_copy_and_the_address_of_the_ledger_goes_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def started(words: list[str], env: dict[str, str], check: bool) -> subprocess.CompletedProcess[str]:
        seen.update(words=words, env=env)
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(command.subprocess, "run", started)
    settings = tmp_path / "dmarcview.toml"
    settings.write_text('[data]\nurl = "postgresql+psycopg://u:secret@localhost/d"\n')
    assert main(["notebook", "1", "--config", str(settings), "--dir", str(tmp_path)]) == 0
    copy = tmp_path / "01-quickstart.ipynb"
    assert seen["words"] == [sys.executable, "-m", "jupyterlab", *command.QUIET, str(copy)]
    assert seen["env"]["DMARCVIEW_DATA_URL"].endswith("secret@localhost/d")
    assert "secret" not in copy.read_text()


def test_without_jupyterlab_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    assert main(["notebook", "1", "--data", str(made(tmp_path)), "--dir", str(tmp_path)]) == 0
    assert "pip install 'dmarcview[notebook]'" in capsys.readouterr().out


def test_jupyterlab_knows_the_options_that_keep_it_quiet() -> None:
    from jupyterlab.labapp import LabApp

    for option in command.QUIET:
        name = option.removeprefix("--LabApp.").partition("=")[0]
        assert name in LabApp.class_trait_names(config=True), name


def test_the_wheel_carries_every_notebook(tmp_path: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    root = Path(__file__).parent.parent
    done = subprocess.run([str(uv), "build", "--quiet", "--wheel", "--out-dir", str(tmp_path), str(root)],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"dmarcview/notebooks/{one.name}.ipynb" for one in shelf.notebooks()} <= names
