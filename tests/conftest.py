"""What several test files share: programs of other projects that some tests talk to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest


def need(program: str, package: str) -> str:
    """Path of a program of Debian's `package`. Without it the test is skipped here, and fails in CI."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/lib/postfix/sbin")
    if path is None:
        message = f"needs {program}: apt-get install {package}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


@pytest.fixture(autouse=True)
def same_umask() -> Iterator[None]:
    """Give the umask back: a command that runs in this process keeps its files from others, and the tests after it."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)
