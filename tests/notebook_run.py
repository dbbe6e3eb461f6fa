"""Runs one notebook as JupyterLab would, in a kernel that reaches nothing but this machine.

`python -m tests.notebook_run NOTEBOOK OUT [NAME=VALUE...]`: writes it with its outputs, and prints the seconds of CPU
that the kernel took; values are Python literals for names of the parameters cell.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

GUARD = Path(__file__).parent / "offline"  # its sitecustomize refuses every connection that leaves loopback
SECONDS = 120


def run(notebook: Path, out: Path, parameters: dict[str, str]) -> None:
    """Execute and write; raises nbclient's CellExecutionError for a cell that fails."""
    book: Any = nbformat.read(notebook, 4)
    if parameters:
        place = next(i for i, cell in enumerate(book.cells) if "parameters" in cell["metadata"].get("tags", []))
        lines = "\n".join(f"{name} = {value}" for name, value in parameters.items())
        book.cells.insert(place + 1, nbformat.v4.new_code_cell(lines))
    os.environ["PYTHONPATH"] = str(GUARD)
    os.environ["IPYTHONDIR"] = str(out.parent / "ipython")
    with tempfile.TemporaryDirectory(prefix="kernel-") as folder:  # a socket's path is short (unix(7))
        how = Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/s"}})
        where = {"metadata": {"path": str(out.parent)}}
        NotebookClient(book, config=how, kernel_name="python3", timeout=SECONDS, resources=where).execute()
    nbformat.write(book, out)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{used.ru_utime + used.ru_stime:.1f}")


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), dict(word.split("=", 1) for word in sys.argv[3:]))
