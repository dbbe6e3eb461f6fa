"""Every measurement in turn: `python -m benchmarks [NAME...]`, with the names of NAMES."""

from __future__ import annotations

import importlib
import sys
import time

NAMES = ("parse", "import", "receive", "visible", "pages", "classify", "store", "relay", "sign", "queue", "client")


def main(names: list[str]) -> int:
    """Run those named, all when none is; 2 for a name that is none, else the worst of their exit codes."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"no measurement is called {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    worst = 0
    for name in names or NAMES:
        start = time.monotonic()
        print(f"== {name}", flush=True)
        module = importlib.import_module(f".{name}_speed", __package__)
        worst = max(worst, module.main([]))
        print(f"   ({time.monotonic() - start:.0f} s)\n", flush=True)
    return worst


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
