"""`make peers`: which programs and Perl modules are missing, by a real shell and a real Perl; apt-get is played."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from conftest import need

SCRIPT = Path(__file__).with_name("peers.sh")
THERE = ("sh:dash", "perl:strict:perl-base", "perl:File::Spec:perl-base")
MISSING = ("no-such-program:some-package", "perl:No::Such::Module:libno-such-module-perl")
PACKAGES = "some-package libno-such-module-perl"


def peers(folder: Path, *entries: str, user: int = 1000) -> str:
    """What the script says to a user of this number; what it asks of apt-get is in `folder`/asked."""
    need("perl", "perl")
    for name, text in (("id", f"echo {user}"), ("apt-get", f'echo "$@" >>{folder}/asked')):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", str(SCRIPT), *entries], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_programs_and_modules_that_are_there_are_no_word_worth(tmp_path: Path) -> None:
    assert peers(tmp_path, *THERE) == peers(tmp_path, *THERE, user=0) == ""
    assert not (tmp_path / "asked").exists()


def test_what_is_missing_is_named_by_its_package(tmp_path: Path) -> None:
    said = peers(tmp_path, *THERE, *MISSING)
    assert said == f"not installed, so some tests will skip: {PACKAGES}  (Debian package names)"
    assert not (tmp_path / "asked").exists()


def test_root_installs_the_packages_of_programs_and_modules_alike(tmp_path: Path) -> None:
    assert peers(tmp_path, *THERE, *MISSING, user=0) == f"installing for the tests: {PACKAGES}"
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == ["update -qq", f"install -y -qq --no-install-recommends {PACKAGES}"]
