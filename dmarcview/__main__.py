"""`python -m dmarcview` is the command `dmarcview`."""

from __future__ import annotations

import sys

from dmarcview.cli import main

if __name__ == "__main__":
    sys.exit(main())
