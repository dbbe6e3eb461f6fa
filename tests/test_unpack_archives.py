"""Archives give back what was packed; what lies about itself costs no memory and is refused by name."""

# ruff: noqa: E501
# The programs of the bombs are one line each.

import bz2
import gzip
import io
import lzma
import random
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarcview_reports import unpack
from dmarcview_reports.archives import GZIP, Meter, expand, inflate, tar_members
from dmarcview_reports.errors import Refused
from dmarcview_reports.model import Refusal
from dmarcview_reports.settings import Limits
from dmarcview_reports.zips import zip_members

LIMITS = Limits()
XML = b"<feedback>" + b"<record/>" * 50 + b"</feedback>"
contents = st.binary(min_size=1, max_size=3000) | st.binary(min_size=1, max_size=40).map(lambda b: b * 5000)


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return out.getvalue()


def streamed_zip(*files: tuple[str, bytes]) -> bytes:
    """A zip written to a pipe: sizes stand behind the data, not before it."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]
        for name, data in files:
            archive.writestr(name, data)
    return pipe.data


@settings(max_examples=60, deadline=None)
@given(contents)
def test_streams_give_back_what_was_packed(content: bytes) -> None:
    assert inflate(gzip.compress(content), GZIP, Meter(LIMITS)).content == content
    assert inflate(zlib.compress(content), 15, Meter(LIMITS)).content == content
    assert expand(bz2.compress(content), "bzip2", Meter(LIMITS)).content == content
    assert expand(lzma.compress(content), "xz", Meter(LIMITS)).content == content


def test_long_stream_of_several_members_is_whole() -> None:
    content = random.Random(1).randbytes(1_500_000)
    packed = gzip.compress(content, 1) + gzip.compress(content, 1)
    assert inflate(packed, GZIP, Meter(LIMITS)) == (content * 2, len(packed), ())


@settings(max_examples=60, deadline=None)
@given(st.lists(contents, min_size=1, max_size=5), st.sampled_from([zipped, streamed_zip]))
def test_zip_gives_back_its_files(files: list[bytes], pack: Callable[..., bytes]) -> None:
    packed = pack(*((f"{n}.xml", data) for n, data in enumerate(files)))
    assert [m.content for m in zip_members(packed, Meter(LIMITS))] == files
    assert [m.content for m in zip_members(b"junk in front" + packed, Meter(LIMITS))] == files


@settings(max_examples=40, deadline=None)
@given(
    st.lists(contents, min_size=1, max_size=5),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_tar_gives_back_its_files(files: list[bytes], form: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for number, data in enumerate(files):
            info = tarfile.TarInfo(f"{'réports/' * 14}{number}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    assert [m.content for m in tar_members(out.getvalue(), Meter(LIMITS))] == files


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 250))
def test_cut_gzip_keeps_what_inflates_and_says_so(missing: int) -> None:
    content = random.Random(2).randbytes(100).hex().encode() * 10
    packed = gzip.compress(content)
    cut = packed[: max(12, len(packed) - missing)]
    if len(cut) < 30:  # nothing but a header and the first bits
        return
    found = inflate(cut, GZIP, Meter(LIMITS))
    assert content.startswith(found.content)
    assert found.cautions == (("cut_archive",) if missing else ())
    if missing <= 8:
        assert found.content == content


def test_zip64_sizes_are_read() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, archive.open("a.xml", "w", force_zip64=True) as member:
        member.write(XML)
    assert [m.content for m in zip_members(out.getvalue(), Meter(LIMITS))] == [XML]


def test_members_that_overlap_are_refused() -> None:
    data = zipped(("a", XML), ("b", XML))
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 4)
    lying = data[: second + 42] + struct.pack("<I", 0) + data[second + 46 :]
    with pytest.raises(Refused, match="overlap"):
        list(zip_members(lying, Meter(LIMITS)))


@pytest.mark.parametrize(
    ("limits", "packed", "setting"),
    [
        (Limits(xml_bytes=2_000_000), gzip.compress(random.Random(3).randbytes(1_500_000).hex().encode()), "xml_bytes"),
        (Limits(expansion_ratio=100), gzip.compress(bytes(1_100_000)), "expansion_ratio"),
        (Limits(expansion_ratio=100), zipped(("a", bytes(1_100_000))), "expansion_ratio"),
        (Limits(expansion_ratio=100), bz2.compress(bytes(1_100_000)), "expansion_ratio"),
        (Limits(archive_members=3), zipped(*((str(n), XML) for n in range(4))), "archive_members"),
        (Limits(nesting=1), gzip.compress(gzip.compress(XML)), "nesting"),
        (Limits(mail_bytes=100), b"From: a@example.net\n\n" + b"x" * 100, "mail_bytes"),
    ],
)
def test_a_limit_is_refused_by_the_name_of_its_setting(limits: Limits, packed: bytes, setting: str) -> None:
    (refusal,) = [p for p in unpack.payloads(packed, limits) if isinstance(p, Refusal)]
    assert f"[limits] {setting}" in refusal.message


def test_a_small_archive_may_have_any_ratio() -> None:
    (payload,) = unpack.payloads(gzip.compress(b"<feedback>" + b" " * 900_000), Limits(expansion_ratio=10))
    assert payload.kind == "xml"  # type: ignore[union-attr]


# What each child makes is itself made in slices, so that its own peak is below what is measured.
BOMBS = {
    "gzip of zeros": "c=zlib.compressobj(9,8,31);d=c.compress(b'<feedback>')+b''.join(c.compress(bytes(1<<20)) for _ in range(210))+c.flush()",
    "gzip at 400 to 1": "u=(b'<a>'+random.Random(1).randbytes(700).hex().encode()).ljust(1<<19,b' ');c=zlib.compressobj(9,8,31);"
    "d=c.compress(b'<feedback>')+b''.join(c.compress(u) for _ in range(420))+c.flush()",
    "zip of a million members": "e=struct.pack('<4s6H3I5H2I',b'PK\\1\\2',20,20,0,0,0,0,0,0,0,1,0,0,0,0,0,0)+b'a';d=b'PK\\3\\4'+e*1000000;"
    "d+=struct.pack('<4s4H2IH',b'PK\\5\\6',0,0,65535,65535,len(e)*1000000,4,0)",
    "mail of a million parts": "d=b'From: a@example.net\\nContent-Type: multipart/mixed; boundary=b\\n\\n'+b'--b\\n\\n'*4000000",
    "mail of a million fields": "d=b'From: a@example.net\\n'+b'A:\\n'*8000000+b'\\n'",
    "mail of one line": "d=b'From: a@example.net\\n\\n'+b'x'*24000000",
    "field of one line": "d=b'From: '+b'x'*24000000",
    "field folded a million times": "d=b'From: a@example.net\\nContent-Type: text/plain\\n'+b' \\n'*12000000+b'\\n'",
    "mails in mails": "d=b'From: a@example.net\\n'+b'Content-Type: message/rfc822\\n\\n'*800000",
    "a million gzip members": "d=gzip.compress(b'x')*1000000",
    "base64 of padding": "d=b'From: a@example.net\\nContent-Transfer-Encoding: base64\\n\\n'+b'A=!'*8000000",
    "JSON of a million lists": "d=b'{\"policies\":1,\"report-id\":1,\"x\":['+b'[],'*8000000+b'1]}'",
    "quine-like nest": "d=b'<feedback>'\nfor _ in range(1000): d=gzip.compress(d)",
    "xz of zeros": "c=lzma.LZMACompressor(preset=0);d=c.compress(b'<feedback>')+b''.join(c.compress(bytes(1<<20)) for _ in range(210))+c.flush()",
}
CHILD = """
import gzip, lzma, random, struct, sys, time, zlib
{make}
from dmarcview_reports import reading
from dmarcview_reports.settings import Limits
start = time.process_time()
found = reading.read(d, "bomb", Limits(), 1_800_000_000)
spent = time.process_time() - start
peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) // 1024
print(peak, spent, len(found.reports), *(r.code for r in found.refusals))
"""


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_bomb_ends_in_a_refusal_within_300_mib_and_seconds(bomb: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", CHILD.format(make=BOMBS[bomb])], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    peak, spent, reports, *codes = run.stdout.split()
    assert int(peak) < 300
    assert float(spent) < 10
    assert reports == "0"
    assert codes
    assert "fault" not in codes
