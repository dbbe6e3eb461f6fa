"""The notebooks that come along: which there are, and a copy of one that asks a store of the user's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import dmarcview

SUFFIX = ".ipynb"
TAG = "parameters"
_NAME = re.compile(r"[0-9]{2}-[a-z0-9-]+")


class Notebook(NamedTuple):
    """One notebook: its name, its title, and the question that it answers."""

    name: str
    title: str
    question: str
    path: Path


def folder() -> Path:
    """Where they are: inside the installed package, or at the root of a source tree."""
    package = Path(dmarcview.__file__).parent
    beside = package.parent / "notebooks"
    return beside if (package.parent / "pyproject.toml").exists() and beside.is_dir() else package / "notebooks"


def notebooks() -> list[Notebook]:
    """All of them, in order. Raises OSError when they are not installed."""
    found = sorted(path for path in folder().iterdir() if path.suffix == SUFFIX and _NAME.fullmatch(path.stem))
    return [_told(path) for path in found]


def find(name: str) -> Notebook | None:
    """The notebook of that name, number, or part of a name, if only one has it."""
    number = f"{int(name):02}-" if name.isascii() and name.isdigit() else name
    found = [one for one in notebooks() if one.name == name or number in one.name]
    exact = [one for one in found if one.name == name]
    return exact[0] if exact else found[0] if len(found) == 1 else None


def filled(notebook: Notebook, values: Mapping[str, Any]) -> str:
    """The text of a copy whose parameters have these values; names that it does not have are left out."""
    book = json.loads(notebook.path.read_text(encoding="utf-8"))
    for cell in book["cells"]:
        if TAG in cell["metadata"].get("tags", []):
            cell["source"] = [_set(line, values) for line in cell["source"]]
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def _set(line: str, values: Mapping[str, Any]) -> str:
    """A line `NAME = value  # words` with another value."""
    name = re.match(r"([A-Z_]+)(: [^=]+)? = ", line)
    if name is None or name[1] not in values:
        return line
    words = line.partition("  # ")[2].rstrip("\n")
    end = "\n" if line.endswith("\n") else ""
    return f"{name[0]}{values[name[1]]!a}" + (f"  # {words}" if words else "") + end


def _told(path: Path) -> Notebook:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    lines = [line.strip() for line in "".join(cells[0]["source"]).splitlines() if line.strip()]
    return Notebook(path.stem, lines[0].lstrip("# "), " ".join(lines[1:]), path)
