"""From paths to inputs: files, folders, globs, mboxes, Maildirs and stdin, one input in memory at a time."""

from __future__ import annotations

# ruff: noqa: PTH112, PTH116, PTH118, PTH123, PTH207
# Names stay text as the user gave them; a Path would tidy them.
import glob
import io
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from . import mbox
from .errors import Refused
from .model import Refusal
from .settings import Limits

STDIN = "-"
EAGER = 1_000_000  # bytes; a file up to here is read while it is looked at, a larger one by `Input.load`
_WILD = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Input:
    """One thing to read: `name` is how people know it, `size` its bytes, for progress.

    `refusal` is set when it cannot be taken at all; then `load` raises the same as Refused.
    """

    name: str
    size: int = 0
    data: bytes | None = None
    refusal: Refusal | None = None

    def load(self) -> bytes:
        """The bytes. Raises Refused: unreadable, or why `refusal` says."""
        if self.refusal is not None:
            raise Refused(self.refusal.code, self.refusal.message)
        if self.data is not None:
            return self.data
        try:
            with Path(self.name).open("rb") as file:
                return file.read(self.size)
        except OSError as error:
            raise Refused("unreadable", _why(error)) from error


class Amount(NamedTuple):
    """How much there is to read: a bound for a progress bar, known from the folders alone."""

    files: int
    bytes: int


def walk(paths: Iterable[str | os.PathLike[str]], limits: Limits, stdin: BinaryIO | None = None) -> Iterator[Input]:
    """Every input below `paths`, in the order given and sorted within folders. Raises nothing: faults are inputs too.

    A folder is walked to its end without following links to folders already on the way; of a Maildir only `cur` and
    `new` are read (and its subfolders, whose names begin with a dot); other names that begin with a dot are left out.
    An mbox gives its mails one by one, named `path#1` and so on. `-` is stdin. A path with `*`, `?` or `[` that is no
    file is a glob, in which `**` means any folders.
    """
    for path in paths:
        name = os.fspath(path)
        if name == STDIN:
            yield from _stream(stdin or sys.stdin.buffer, "stdin", limits)
        else:
            for found in _expand(name):
                yield from _path(found, limits) if isinstance(found, str) else (found,)


def estimate(paths: Iterable[str | os.PathLike[str]]) -> Amount:
    """Files and bytes below `paths`, by stat alone; stdin and what cannot be looked at count nothing."""
    files, size = 0, 0
    for path in paths:
        name = os.fspath(path)
        for found in _expand(name) if name != STDIN else ():
            for file in _files(found) if isinstance(found, str) else ():
                if isinstance(file, str):
                    try:
                        status = os.stat(file)
                    except OSError:
                        continue
                    files, size = files + 1, size + status.st_size
    return Amount(files, size)


def _expand(name: str) -> Iterator[str | Input]:
    if os.path.lexists(name) or not _WILD.intersection(name):
        yield name
        return
    found = sorted(glob.iglob(name, recursive=True))
    yield from found
    if not found:
        yield _refused(name, "unreadable", "Nothing has such a name. Check the pattern.")


def _path(name: str, limits: Limits) -> Iterator[Input]:
    for file in _files(name):
        if isinstance(file, str):
            yield from _file(file, limits)
        else:
            yield file


def _files(top: str, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[str | Input]:
    """Files at or below `top`; `above` are the folders on the way, so that a link cannot lead round."""
    try:
        status = os.stat(top)
        if not stat.S_ISDIR(status.st_mode):
            yield top
            return
        here = (status.st_dev, status.st_ino)
        if here in above:
            return
        with os.scandir(top) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError as error:
        yield _refused(top, "unreadable", _why(error))
        return
    maildir = {"cur", "new"}.issubset(names) and all(os.path.isdir(os.path.join(top, box)) for box in ("cur", "new"))
    for name in names:
        path = os.path.join(top, name)
        if maildir:
            wanted = name in ("cur", "new") or (name.startswith(".") and os.path.isdir(os.path.join(path, "cur")))
        else:
            wanted = not name.startswith(".")
        if wanted:
            yield from _files(path, above | {here})


def _file(name: str, limits: Limits) -> Iterator[Input]:
    try:
        status = os.stat(name)
        if not stat.S_ISREG(status.st_mode):  # a device or a pipe may never end; stdin is the way for pipes
            yield _refused(name, "unreadable", "It is no file. Give a pipe as -, on stdin.")
            return
        size = status.st_size
        with open(name, "rb") as file:
            if size <= EAGER:
                data = file.read(EAGER + 1)
                if mbox.looks_like_mbox(data) and len(data) <= EAGER:
                    yield from _mails(io.BytesIO(data), name, limits, len(data))
                else:
                    yield Input(name, len(data), data)
                return
            if mbox.looks_like_mbox(file.read(2048)):
                file.seek(0)
                yield from _mails(file, name, limits, size)
                return
    except OSError as error:
        yield _refused(name, "unreadable", _why(error))
        return
    yield _too_large(name, size, limits) if size > limits.xml_bytes else Input(name, size)


def _mails(stream: BinaryIO, name: str, limits: Limits, size: int) -> Iterator[Input]:
    """Mails of an mbox; the only mail of a file keeps the file's name. Sizes add up to no more than the file's."""
    held: Input | None = None
    number = 0
    for number, mail in enumerate(mbox.split(stream, limits), 1):
        here = f"{name}#{number}"
        if held is not None:
            yield held
        held = _refused(here, mail.code, mail.message) if isinstance(mail, Refused) else Input(here, len(mail), mail)
    if held is not None:
        yield held if number > 1 else Input(name, size, held.data, held.refusal)
    else:
        yield _refused(name, "empty", "The mbox holds no mail.")


def _stream(stream: BinaryIO, name: str, limits: Limits) -> Iterator[Input]:
    """Stdin: an mbox is split as it comes, anything else is read whole."""
    try:
        buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)  # type: ignore[type-var]
        if mbox.looks_like_mbox(buffered.peek(2048)[:2048]):
            yield from _mails(buffered, name, limits, 0)
            return
        data = buffered.read(limits.xml_bytes + 1)
    except (OSError, ValueError) as error:
        yield _refused(name, "unreadable", str(error))
        return
    yield _too_large(name, len(data), limits) if len(data) > limits.xml_bytes else Input(name, len(data), data)


def _too_large(name: str, size: int, limits: Limits) -> Input:
    message = f"It has more than {limits.xml_bytes} bytes. Raise [limits] xml_bytes if you trust it."
    return Input(name, size, refusal=Refusal("too_large", message))


def _refused(name: str, code: str, message: str) -> Input:
    return Input(name, refusal=Refusal(code, message))


def _why(error: OSError) -> str:
    return f"It could not be read: {error.strerror or error}. Check that it exists and who may read it."
