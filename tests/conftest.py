"""What several test files share: programs of other projects that some tests talk to."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NoReturn

import pytest


def need(program: str, package: str) -> str:
    """Path of a program of Debian's `package`. Without it the test is skipped here, and fails in CI."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/lib/postfix/sbin")
    if path is None:
        lacking(program, package)
    return path


def need_perl(module: str, package: str) -> str:
    """Path of a Perl that has a module of Debian's `package`; without it as `need`."""
    perl = need("perl", package)
    if subprocess.run([perl, f"-M{module}", "-e", "1"], capture_output=True, check=False).returncode:
        lacking(f"Perl's {module}", package)
    return perl


def lacking(name: str, package: str) -> NoReturn:
    """Skip the test, or fail it in CI, for want of `name`."""
    unable(f"needs {name}: apt-get install {package}")


def unable(message: str) -> NoReturn:
    """Skip the test, or fail it in CI, because it cannot be made here."""
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(autouse=True)
def same_umask() -> Iterator[None]:
    """Give the umask back: a command that runs in this process keeps its files from others, and the tests after it."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """Starts one PostgreSQL cluster for all tests when the first asks; gives the URL prefix of its databases."""
    from tests.store_postgres import cluster

    with ExitStack() as stack:
        prefix: list[str] = []

        def start() -> str:
            if not prefix:
                prefix.append(stack.enter_context(cluster()))
            return prefix[0]

        yield start


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, postgres: Callable[[], str]) -> str | None:
    """The URL of an empty ledger of each kind; None is SQLite in the data folder."""
    from tests.store_postgres import fresh_database

    return fresh_database(postgres(), uuid.uuid4().hex) if request.param == "postgresql" else None
