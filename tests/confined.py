"""Runs a program as a systemd unit's sandbox would: `python confined.py UNIT PROGRAM WORD...`.

No other system calls than those of the unit's SystemCallFilter, no writable memory that becomes executable when the
unit forbids it, and no new privileges. systemd itself says which calls its groups hold; libseccomp compiles.
"""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
from pathlib import Path

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000  # seccomp(2); an errno is added to the last
AS_ROOT = {
    "fchown"
}  # SQLite gives its files to the owner of the database when root runs it; the units' user is not root
PROT_EXEC = 4
MASKED_EQUAL = 7  # SCMP_CMP_MASKED_EQ
NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS


class Comparison(ctypes.Structure):
    """struct scmp_arg_cmp: argument number, operator, mask, value."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("mask", ctypes.c_uint64), ("value", ctypes.c_uint64))


def service(unit: Path) -> dict[str, list[str]]:
    """The values of each key of [Service]."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def calls(group: str) -> set[str]:
    """The system calls of a group of systemd's, or the one that is named."""
    if not group.startswith("@"):
        return {group}
    said = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", group], capture_output=True, text=True, check=True
    )
    words = (line.strip() for line in said.stdout.splitlines() if line.startswith("    "))
    return {call for word in words if word and not word.startswith("#") for call in calls(word)}


def allowed(keys: dict[str, list[str]]) -> set[str]:
    """What a unit's SystemCallFilter lines leave; the first one lists what is allowed, others add or take away."""
    found = calls("@default")
    for line in keys["SystemCallFilter"]:
        named = {call for word in line.removeprefix("~").split() for call in calls(word)}
        found = found - named if line.startswith("~") else found | named
    return found


def confine(keys: dict[str, list[str]]) -> None:
    """Put this process, and all that it starts, under the filter."""
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    number = getattr(errno, keys.get("SystemCallErrorNumber", [""])[0], 0)
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(ERRNO | number if number else KILL)))
    sealed = {"mprotect", "pkey_mprotect"} if keys.get("MemoryDenyWriteExecute") == ["yes"] else set()
    for name in sorted(allowed(keys) | AS_ROOT):
        call = seccomp.seccomp_syscall_resolve_name(name.encode())
        if call < 0:
            continue  # of another architecture
        rules = (Comparison * 1)(Comparison(2, MASKED_EQUAL, PROT_EXEC, 0))
        arguments = (1, rules) if name in sealed else (0, None)
        assert seccomp.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), call, *arguments) == 0, name
    assert seccomp.seccomp_load(context) == 0


def main(unit: str, *command: str) -> None:
    """Confine this process, and be the program."""
    assert ctypes.CDLL(None).prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    confine(service(Path(unit)))
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
