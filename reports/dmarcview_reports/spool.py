"""Mails that were acknowledged and are not in the store yet: one file for each group commit.

A batch is written under `tmp/`, synced, renamed into `new/`, and the folder is synced; only then is any of its mails
acknowledged. So a file in `new/` is whole, and what a crash leaves in `tmp/` was promised to nobody. (Writing in `new/`
at once, with a mark at the end, saved 15 % of a commit on ext4, but every reader would meet files that grow.)

A batch is a sequence of frames and a last line. All numbers in the lines are decimal:

    dmarcview-mail 1 HEADER_BYTES MAIL_BYTES LF  header (JSON of Origin)  mail  CRC32 of both, 8 hex digits, LF
    dmarcview-end 1 MAILS LF

Who takes a batch holds an flock on it. The lock dies with its process, and then the batch can be taken again.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import logging
import os
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import IO, Any

import orjson

from dmarcview_smtp.commit import Closed, GroupCommitter
from dmarcview_smtp.files import sync_folder

from .errors import SpoolError
from .model import Origin

log = logging.getLogger(__name__)

BATCH_ITEMS = 500
BATCH_BYTES = 16_000_000  # a larger mail is a batch of its own
COPY_BYTES = 1024 * 1024
RESERVE_BYTES = 100_000_000
OLD_SECONDS = 3600.0  # a file in tmp/ of another process is left alone for so long
_FRAME = b"dmarcview-mail 1 %d %d\n"
_END = b"dmarcview-end 1 %d\n"
_END_BYTES = 40  # the last line fits into these
_ORIGIN_FIELDS = frozenset(each.name for each in fields(Origin))


@dataclass(frozen=True, slots=True)
class Incoming:
    """One mail to be spooled: how it came, and its bytes, in memory or in an open file that is read from its start."""

    origin: Origin  # the name is given by the spool
    raw: bytes | IO[bytes]
    size: int


@dataclass(slots=True)
class Batch:
    """A batch this process has taken. `damaged`: the disk changed it; the whole mails before the damage are here."""

    path: Path
    items: list[tuple[Origin, bytes]]
    damaged: bool
    lock: int = field(repr=False)  # open file descriptor that holds the flock

    @property
    def name(self) -> str:
        """Its file name, the same however often it is taken."""
        return self.path.name


class Spool:
    """The spool of one data folder. Several processes may use it at once."""

    def __init__(
        self,
        path: Path,
        *,
        reserve: int = RESERVE_BYTES,
        clock: Callable[[], float] = time.time,
        free: Callable[[Path], int] | None = None,
    ) -> None:
        """Opens or creates it; `reserve` bytes of the disk are left free. Raises SpoolError when it cannot be used."""
        self.path = path
        self.new = path / "new"
        self.tmp = path / "tmp"
        self.bad = path / "bad"
        self._reserve = reserve
        self._clock = clock
        self._free = free or _free_bytes
        self._numbers = itertools.count()
        self._taken: set[Path] = set()
        self._committer: GroupCommitter[Incoming, str] | None = None
        try:
            for folder in (self.new, self.tmp, self.bad):
                folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._sweep()
        except OSError as error:
            raise SpoolError(f"cannot use the spool {path}: {error.strerror}", error.errno) from error

    # in

    def has_room(self, size: int = 0) -> bool:
        """Whether a mail of this size would be taken now."""
        try:
            return self._free(self.path) - size >= self._reserve
        except OSError:
            return False

    async def put(self, origin: Origin, raw: bytes | IO[bytes], size: int | None = None) -> str:
        """Make a mail durable; gives its id. Raises SpoolError, and then nothing of it is left.

        `size` is needed for a file. Mails that wait at the same time share one sync.
        """
        if size is None:
            if not isinstance(raw, bytes):
                raise ValueError("say the size of a file")
            size = len(raw)
        if self._committer is None:
            self._committer = GroupCommitter(
                self._write, batch_items=BATCH_ITEMS, batch_bytes=BATCH_BYTES, name="dmarcview-spool"
            )
        try:
            return await self._committer.put(Incoming(origin, raw, size), size)
        except Closed:
            raise SpoolError("the spool is closed") from None

    def close(self) -> None:
        """Write what waits and end the writer. Blocks until then."""
        if self._committer is not None:
            self._committer.close()

    def _write(self, batch: list[Incoming]) -> list[str]:
        """Runs in the writer thread."""
        name = f"{time.time_ns():020d}-{os.getpid()}-{next(self._numbers)}"
        draft, final = self.tmp / name, self.new / f"{name}.batch"
        try:
            if not self.has_room(sum(each.size for each in batch)):
                raise OSError(errno.ENOSPC, "less space than the reserve is left")
            with draft.open("xb", buffering=0) as file:
                ids = [_write_frame(file.fileno(), each, f"{name}.{at}") for at, each in enumerate(batch)]
                _write_all(file.fileno(), _END % len(batch))
                os.fdatasync(file.fileno())
            draft.rename(final)
            sync_folder(self.new)
        except OSError as error:
            for path in (draft, final):
                try:
                    path.unlink(missing_ok=True)
                except OSError as second:  # it holds mails that nobody was promised: at worst they come twice
                    log.error("cannot remove %s: %s", path, second)
            log.error("spool: %d mails not taken: %s", len(batch), error)
            raise SpoolError(f"the spool cannot be written: {error.strerror}", error.errno) from error
        return ids

    def _sweep(self) -> None:
        """Remove what dead writers left; it was promised to nobody."""
        for path in self.tmp.iterdir():
            try:
                if not _writer_lives(path.name) or path.stat().st_mtime < self._clock() - OLD_SECONDS:
                    path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:  # a folder, or somebody else's: no reason to take no mail
                log.error("spool: cannot remove %s: %s", path, error.strerror)

    # out

    def waiting(self) -> int:
        """How many batches are in the spool, taken ones with them."""
        return sum(1 for _ in self.new.glob("*.batch"))

    def take(self) -> Iterator[Batch]:
        """The batches that nobody has taken, oldest first, each locked for this process until `done` or `give_back`."""
        for path in sorted(self.new.glob("*.batch")):
            if path in self._taken:
                continue
            if batch := _open_batch(path):
                self._taken.add(path)
                yield batch

    def done(self, batch: Batch) -> None:
        """The store has it all: remove it. A damaged batch goes to `bad/` for people to look at."""
        if batch.damaged:
            batch.path.rename(self.bad / batch.path.name)
            log.error("spool: damaged batch kept as %s", self.bad / batch.path.name)
        else:
            batch.path.unlink(missing_ok=True)
        self.give_back(batch)

    def give_back(self, batch: Batch) -> None:
        """Let somebody take it again."""
        self._taken.discard(batch.path)
        os.close(batch.lock)


def mails_in(path: Path) -> int:
    """How many mails a batch holds, by its last line; 1 for one that cannot be read so, for it may hold one."""
    try:
        with path.open("rb") as file:
            file.seek(-min(_END_BYTES, os.fstat(file.fileno()).st_size), os.SEEK_END)
            words = file.read(_END_BYTES).rpartition(b"dmarcview-end 1 ")[2].split()
    except OSError:
        return 1
    return int(words[0]) if len(words) == 1 and words[0].isdigit() else 1


def _free_bytes(path: Path) -> int:
    state = os.statvfs(path)
    return state.f_bavail * state.f_frsize


def _writer_lives(name: str) -> bool:
    """Whether the process that wrote this draft may still be at it."""
    parts = name.split("-")
    if len(parts) != 3 or not parts[1].isdigit() or int(parts[1]) == os.getpid():
        return False
    try:
        os.kill(int(parts[1]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _write_all(fd: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _write_frame(fd: int, mail: Incoming, name: str) -> str:
    origin = mail.origin
    values = {each: getattr(origin, each) for each in _ORIGIN_FIELDS if each != "name"}
    header = orjson.dumps(values)
    start = _FRAME % (len(header), mail.size) + header
    check = zlib.crc32(header)
    if isinstance(mail.raw, bytes):
        check = zlib.crc32(mail.raw, check)
        _write_all(fd, b"".join((start, mail.raw, b"%08x\n" % check)))
        return name
    _write_all(fd, start)
    mail.raw.seek(0)
    left = mail.size
    while left > 0:
        piece = mail.raw.read(min(COPY_BYTES, left))
        if not piece:
            raise OSError(errno.EIO, "the temporary file of a mail is shorter than it was")
        check = zlib.crc32(piece, check)
        left -= len(piece)
        _write_all(fd, piece)
    _write_all(fd, b"%08x\n" % check)
    return name


def _open_batch(path: Path) -> Batch | None:
    """Lock and read a batch; None when another has it, or had it and is done."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.error("spool: %s is left alone: %s", path, error.strerror)
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):  # a folder, pipe or device is nobody's batch, and may never end
            log.error("spool: %s is left alone: it is no file", path)
            os.close(fd)
            return None
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink == 0:  # removed between our look and our lock
            os.close(fd)
            return None
        with open(fd, "rb", closefd=False) as file:
            items, whole = _read_frames(file, os.fstat(fd).st_size, path.name.removesuffix(".batch"))
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return Batch(path, items, not whole, fd)


def _read_frames(file: IO[bytes], size: int, name: str) -> tuple[list[tuple[Origin, bytes]], bool]:
    """The mails, and whether the batch is as it was written."""
    items: list[tuple[Origin, bytes]] = []
    while True:
        words = file.readline(80).split(b" ")
        if words[0] == b"dmarcview-end":
            return items, words == (_END % len(items)).split(b" ") and not file.read(1)
        try:
            if words[:2] != [b"dmarcview-mail", b"1"] or len(words) != 4:
                return items, False
            lengths = int(words[2]), int(words[3])
            if min(lengths) < 0 or sum(lengths) > size:  # memory follows the file, never a number in it
                return items, False
            header, raw = file.read(lengths[0]), file.read(lengths[1])
            check = zlib.crc32(raw, zlib.crc32(header))
            if file.read(9) != b"%08x\n" % check:
                return items, False
            items.append((_origin(header, f"{name}.{len(items)}"), raw))
        except (ValueError, TypeError, AttributeError):
            return items, False


def _origin(header: bytes, name: str) -> Origin:
    """Fields that another version wrote and we do not know are left out."""
    values: dict[str, Any] = orjson.loads(header)
    known = {key: value for key, value in values.items() if key in _ORIGIN_FIELDS}
    known["rcpt_to"] = tuple(known.get("rcpt_to", ()))
    return Origin(name=name, **known)
