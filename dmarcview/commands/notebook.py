"""`dmarcview notebook`: the notebooks that come along, and a copy of one that asks your own store."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from dmarcview.commands import require_store, settings
from dmarcview.commands.ask import day
from dmarcview.exits import TAKEN, Misuse
from dmarcview.terminal import print_json, safe, table

# JupyterLab asks its maker for news, for updates and for extensions, unless it is told not to.
QUIET = (
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)


def run(args: argparse.Namespace) -> int:
    """List the notebooks, or copy one and open it; gives JupyterLab's exit code when it is opened."""
    from dmarcview.analysis import shelf

    if args.name is None:
        return _list(args)
    found = shelf.find(args.name)
    if found is None:
        names = ", ".join(one.name for one in shelf.notebooks())
        raise Misuse(f"no one notebook is called {safe(args.name)}; there are {names}")
    config = settings(args)
    require_store(config)
    from dmarcview.config import data_dir

    values = {
        "STORE": str(data_dir(config).absolute()),
        "DOMAINS": list(args.domain or ()),
        "SINCE": str(day(args.since, "--since") or ""),
        "UNTIL": str(day(args.until, "--until") or ""),
        "UNVERIFIED": config.trust.unverified,
        "RECEIVERS": dict(config.reconcile.receivers),
    }
    copy = _write(Path(args.dir) / found.path.name, shelf.filled(found, values))
    opened = not args.no_open and importlib.util.find_spec("jupyterlab") is not None
    if args.json:
        print_json({"notebook": found.name, "file": str(copy), "opened": opened})
    else:
        print(f"wrote {safe(copy)}, which asks the store in {safe(values['STORE'])}")
        if not opened and not args.no_open:
            print("to open it: pip install 'dmarcview[notebook]', then jupyter lab " + safe(copy))
    return _open(copy, config.data.url) if opened else TAKEN


def _list(args: argparse.Namespace) -> int:
    from dmarcview.analysis import shelf

    found = shelf.notebooks()
    if args.json:
        print_json([{"name": one.name, "title": one.title, "question": one.question} for one in found])
    else:
        table(("notebook", "question"), [(one.name, one.question) for one in found])
        print("\n`dmarcview notebook NAME` opens a copy on your own store.")
    return TAKEN


def _write(path: Path, text: str) -> Path:
    """The copy; never over a file that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        what = "open it with `jupyter lab`, or choose another folder with --dir"
        raise Misuse(f"{path} is there already: {what}") from None
    return path


def _open(path: Path, url: str) -> int:
    """JupyterLab on the copy, until it is stopped; the ledger's address is a secret, and goes by the environment."""
    from dmarcview.analysis.opening import URL

    environment = os.environ | ({URL: url} if url else {})
    command = [sys.executable, "-m", "jupyterlab", *QUIET, str(path)]
    return subprocess.run(command, env=environment, check=False).returncode
