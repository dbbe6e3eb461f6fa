"""Allow lists: what is listed and nothing else, from the settings or from files that change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmarcview_relay.allow import FILE_BYTES, AllowError, AllowList, faults, is_file
from dmarcview_smtp.address import Address, AddressError, read_address


def allowed(patterns: tuple[str, ...], text: str) -> bool:
    return AllowList(patterns).allows(read_address(text))


@pytest.mark.parametrize(
    ("pattern", "text", "answer"),
    [
        ("a@b.test", "a@b.test", True),
        ("A@B.test", "a@b.TEST", True),
        ("a@b.test", "ab@b.test", False),
        ("a@b.test", "a+x@b.test", False),
        ("@b.test", "anybody@B.test", True),
        ("@b.test", "a@sub.b.test", False),
        ("@b.test", "a@xb.test", False),
        ("@b.test", "a@b.test.evil.test", False),
        ("@b.test", "x%evil.test@b.test", False),
        ("@b.test", "evil.test!x@b.test", False),
        ("@b.test", '"x@evil.test"@b.test', False),
        ("x%evil.test@b.test", "x%evil.test@b.test", True),
        ("@exämple.test", "a@xn--exmple-cua.test", True),
        ("@xn--exmple-cua.test", "a@EXÄMPLE.test", True),
        ("jürgen@b.test", "jürgen@b.test", True),
        ("jürgen@b.test", "JÜRGEN@b.test", False),
        ("k@b.test", "\u212a@b.test", False),  # the Kelvin sign, whose lower case is k
        ('"a b"@c.test', '"a\\ b"@c.test', True),
        ("*", "any%thing@anywhere.test", True),
    ],
)
def test_an_address_is_covered_or_not(pattern: str, text: str, answer: bool) -> None:
    assert allowed((pattern,), text) is answer


def test_an_empty_list_allows_nothing_and_says_that_it_is_empty() -> None:
    assert not AllowList(())
    assert AllowList(("*",))
    assert not AllowList(()).allows(Address("a", "b.test"))


@pytest.mark.parametrize(
    "pattern", ["a b@c.test", "@", "@b..test", "a@", "@@b.test", "a@b@c.test", "<a@b.test>", "*@b.test", "a@*"]
)
def test_what_is_no_pattern_is_refused_with_its_text(pattern: str) -> None:
    with pytest.raises(AllowError, match="no address and no @domain"):
        AllowList((pattern,))
    [fault] = faults((pattern, "ok@b.test", "*"))
    assert repr(pattern) in fault


def test_paths_are_known_by_their_form() -> None:
    assert all(map(is_file, ("/etc/list", "./a@b", "../x", "list.txt", "")))
    assert not any(map(is_file, ("a@b.test", "@b.test", "*", "a/b@c.test")))


@given(st.text(max_size=30), st.text(max_size=30))
def test_an_address_pattern_covers_itself_only(one: str, two: str) -> None:
    try:
        first, second = read_address(f"{one}@b.test"), read_address(f"{two}@b.test")
    except AddressError:
        return
    if is_file(str(first)) or "*" in str(first):  # a star is refused: whoever writes it means more than one address
        return
    names = AllowList((str(first),))
    assert names.allows(first)
    assert names.allows(second) == (first.local == second.local or first.local.lower() == second.local.lower()) or (
        not (first.local.isascii() and second.local.isascii())
    )


# files


def write(path: Path, text: str | bytes) -> None:
    """As an editor does: a new file takes the place of the old."""
    new = path.with_suffix(".new")
    new.write_bytes(text if isinstance(text, bytes) else text.encode())
    new.replace(path)


def test_a_file_holds_one_pattern_a_line_with_comments(tmp_path: Path) -> None:
    write(tmp_path / "list", "# who may\n\n a@b.test  # the boss\n@c.test\r\nd#e@f.test\n")
    names = AllowList((str(tmp_path / "list"), "x@y.test"))
    for text in ("a@b.test", "z@c.test", "d#e@f.test", "x@y.test"):
        assert names.allows(read_address(text)), text
    assert not names.allows(read_address("who@b.test"))


def test_a_file_that_changes_is_read_again_at_the_next_question(tmp_path: Path) -> None:
    path = tmp_path / "list"
    write(path, "a@b.test\n")
    names = AllowList((str(path),))
    write(path, "c@b.test\n")
    assert names.allows(Address("c", "b.test"))
    assert not names.allows(Address("a", "b.test"))


@pytest.mark.parametrize(
    "bad", [b"c@b.test\nnonsense\n", b"c@b.test\n\xff\n", b"c@b.test\n" + b"#" * FILE_BYTES, None], ids=str
)
def test_a_file_that_turns_bad_leaves_the_old_list_whole_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bad: bytes | None
) -> None:
    path = tmp_path / "list"
    write(path, "a@b.test\n")
    names = AllowList((str(path),))
    if bad is None:
        path.unlink()
    else:
        write(path, bad)
    for _ in range(3):
        assert names.allows(Address("a", "b.test"))
        assert not names.allows(Address("c", "b.test"))
    assert caplog.text.count("the old list stays") == 1
    write(path, "c@b.test\n")
    assert names.allows(Address("c", "b.test"))


@pytest.mark.parametrize("content", [b"a@b.test\n@\n", b"\xff", b"x" * (FILE_BYTES + 1)], ids=["line", "utf8", "size"])
def test_a_file_that_is_bad_at_the_start_is_a_fault_with_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "list"
    path.write_bytes(content)
    [fault] = faults((str(path),))
    assert fault.startswith(f"{path}: ")
    assert ("line 2" in fault) == (content[-2:] == b"@\n")
    assert faults((str(tmp_path / "none"),)) == [f"{tmp_path / 'none'}: No such file or directory"]
    [fault] = faults((str(tmp_path / "example.org"),))
    assert fault.endswith("No such file or directory; if a domain is meant, write @example.org")


def test_a_file_that_grows_while_it_is_read_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "list"
    path.write_text("a@b.test\n")
    names = AllowList((str(path),))
    path.write_text("a@b.test\n@example.co\n")  # `m` is still to come
    real = os.fstat

    def slow(file: int) -> os.stat_result:
        state = real(file)
        with path.open("a") as more:
            more.write("m")
        return state

    monkeypatch.setattr(os, "fstat", slow)
    assert not names.allows(Address("x", "example.co"))
    monkeypatch.undo()
    assert not names.allows(Address("x", "example.co"))
