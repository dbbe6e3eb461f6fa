"""A real PostgreSQL cluster in a temporary folder, for the tests of the ledger."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import need


@contextmanager
def cluster() -> Iterator[str]:
    """The URL prefix of a running cluster; add the name of a database."""
    pytest.importorskip("psycopg")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    pg_ctl = str(found[-1]) if found else need("pg_ctl", "postgresql")
    user = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    if user:
        shutil.chown(folder, user)
    run = {"user": user, "check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "cwd": folder}
    data = folder / "data"
    try:
        subprocess.run([pg_ctl, "initdb", "-D", data, "-o", "-A trust -U test -E UTF8 --no-locale"], **run)
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c max_connections=40"
        subprocess.run([pg_ctl, "start", "-w", "-D", data, "-l", folder / "log", "-o", options], **run)
        try:
            yield f"postgresql+psycopg://test@/{{}}?host={folder}"
        finally:
            subprocess.run([pg_ctl, "stop", "-m", "immediate", "-D", data], **run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fresh_database(prefix: str, name: str) -> str:
    """The URL of a new database of the cluster."""
    import psycopg

    host = prefix.rsplit("host=", 1)[1]
    with psycopg.connect(f"host={host} user=test dbname=postgres", autocommit=True) as conn:
        conn.execute(f'create database "{name}"')
    return prefix.format(name)
