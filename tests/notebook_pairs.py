"""Each notebook is text (`notebooks/NAME.py`, py:percent), and `.ipynb`, which `make notebooks` writes from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jupytext
import nbformat

FOLDER = Path(__file__).parent.parent / "notebooks"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def texts() -> list[Path]:
    """The notebooks as text, in order."""
    return sorted(FOLDER.glob("[0-9][0-9]-*.py"))


def paired(text: Path) -> str:
    """The `.ipynb` of a text: no outputs, and cells named by their place, so that the same text gives the same file."""
    book: Any = jupytext.read(text)
    for place, cell in enumerate(book.cells, 1):
        cell["id"] = f"cell-{place:02}"
        cell["metadata"] = {name: value for name, value in cell["metadata"].items() if name == "tags"}
    book["metadata"] = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    book["nbformat"], book["nbformat_minor"] = 4, 5
    nbformat.validate(book)
    return nbformat.writes(book) + "\n"


if __name__ == "__main__":
    for one in texts():
        one.with_suffix(".ipynb").write_text(paired(one), encoding="utf-8")
