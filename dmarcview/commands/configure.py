"""`dmarcview config`: check the settings, show what holds, print or write the reference pages."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from dmarcview import config
from dmarcview.commands import settings
from dmarcview.config.settings import settable
from dmarcview.terminal import print_json, safe


def run(args: argparse.Namespace) -> int:
    """Dispatch `config check|show|reference`; 0 when well, 2 when the settings have faults."""
    if args.action == "reference":
        return _reference(args)
    try:
        found = settings(args, look=args.action == "check")
    except config.ConfigError as error:
        if args.json:
            faults = [fault._asdict() for fault in error.faults]
            print_json({"ok": False, "file": error.source, "faults": faults})
        else:
            for fault in error.faults:
                print(f"{safe(error.source)}: {safe(fault)}", file=sys.stderr)
        return 2
    file = config.find(args.config)
    if args.action == "check":
        if args.json:
            print_json({"ok": True, "file": str(file) if file else None, "faults": []})
        else:
            print(f"{file}: no fault" if file else "no settings file; the defaults and the environment are well")
    elif args.json:
        print_json(_plain(found))
    else:
        from dmarcview.config.show import toml

        print(f"# {safe(file) if file else 'no settings file'}; data in {safe(config.data_dir(found))}")
        print(toml(found), end="")
    return 0


def _plain(value: object) -> object:
    """Dataclasses and mappings as dicts, tuples as lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in settable(type(value))}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return dict(value) if hasattr(value, "keys") and hasattr(value, "__getitem__") else value


def _reference(args: argparse.Namespace) -> int:
    from dmarcview.reference import PAGES

    if not args.write:
        print(PAGES[args.page](), end="")
        return 0
    folder = Path(args.write)
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / f"{name}.md").write_text(page(), encoding="utf-8")
    return 0
