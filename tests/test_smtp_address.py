"""The address parser takes what RFC 5321 and 6531 allow, and nothing else."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmarcview.config.kinds import domain
from dmarcview_relay.keys import checked_domain
from dmarcview_reports.parse_record import Normaliser
from dmarcview_reports.settings import Limits
from dmarcview_reports.trust import as_name
from dmarcview_smtp.address import Address, AddressError, read_address, read_helo, read_parameters, read_path
from dmarcview_smtp.alabels import a_labels

GOOD = {
    "<a@b.test>": Address("a", "b.test"),
    "<a.b+c=d@b.test>": Address("a.b+c=d", "b.test"),
    "<!#$%&'*+-/=?^_`{|}~@b.test>": Address("!#$%&'*+-/=?^_`{|}~", "b.test"),
    '<"a b"@b.test>': Address("a b", "b.test"),
    '<"a@b"@c.test>': Address("a@b", "c.test"),
    '<"a\\"b\\\\"@b.test>': Address('a"b\\', "b.test"),
    '<""@b.test>': Address("", "b.test"),
    "<@relay.test:a@b.test>": Address("a", "b.test"),
    "<@r1.test,@r2.test:a@b.test>": Address("a", "b.test"),
    "<a@localhost>": Address("a", "localhost"),
    "<a@[192.0.2.1]>": Address("a", "[192.0.2.1]"),
    "<a@[IPv6:2001:db8::1]>": Address("a", "[IPv6:2001:db8::1]"),
    "<jürgen@exämple.test>": Address("jürgen", "exämple.test"),
    f"<{'a' * 64}@b.test>": Address("a" * 64, "b.test"),
    f"<a@{'b' * 63}.test>": Address("a", f"{'b' * 63}.test"),
}
BAD = [
    "", "a@b.test", "<a@b.test", "a@b.test>", "<<a@b.test>>", "<a>", "<@b.test>", "<a@>", "<a@b.test.>", "<a@.b.test>",
    "<a@b..test>", "<.a@b.test>", "<a.@b.test>", "<a..b@b.test>", "<a b@b.test>", "<a@b .test>", "< a@b.test>",
    "<a@b.test >", "<a\t@b.test>", "<a@b_c.test>", "<a@-b.test>", "<a@b-.test>", "<a@b@c.test>", "<a (comment)@b.test>",
    "<(comment)a@b.test>", "<a@b.test (comment)>", "<a@(comment)b.test>", "Name <a@b.test>",
    "<a@b.test\r\nRCPT TO:<x@y>>",
    "<a\r\n b@c.test>", "<a\x00@b.test>", "<a@b\x00.test>", '<"a\x00"@b.test>', '<"a\r\n"@b.test>', '<"a"b@c.test>',
    '<"a@c.test>', "<a@[192.0.2.256]>", "<a@[192.0.2]>", "<a@[IPv6:zz]>", "<a@[x400:foo]>", "<a@[]>", "<a@[192.0.2.1>",
    "<a@192.0.2.1]>", "<@r.test:>", "<@r.test a@b.test>", "<@r.test;a@b.test>", "<a,b@c.test>", "<a;b@c.test>",
    "<a:b@c.test>", "<a\\b@c.test>", "<a@b,c>", "<a@b!c>", "<>", "<postmaster>", "<a@b.test\u2028>", "<a\u200b@b.test>",
    "<a\u202e@b.test>", "<a@b\u3000c.test>", "<a@ｂ.test>",
    "<a@exa\u0308mple.test>", "<a\x85@b.test>", "<a\x7f@b.test>", "<a\udcff@b.test>",
    f"<{'a' * 65}@b.test>", f"<a@{'b' * 64}.test>", f"<a@{'b.' * 130}test>", f"<{'ü' * 33}@b.test>",
]  # fmt: skip


@pytest.mark.parametrize(("text", "address"), GOOD.items())
def test_an_address_of_the_grammar_is_read(text: str, address: Address) -> None:
    assert read_path(f"{text} SIZE=3") == (address, " SIZE=3")


@pytest.mark.parametrize("text", BAD)
def test_what_the_grammar_does_not_allow_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        read_path(text)


def test_an_encoded_word_is_read_as_the_letters_that_it_is() -> None:
    word = "=?utf-8?q?a=40evil.test=0d=0aRCPT_TO:=3cx=40y=3e?="
    with pytest.raises(AddressError):  # the colon is no atom
        read_path(f"<{word}@b.test>")
    harmless = "=?utf-8?q?a?="
    assert read_path(f"<{harmless}@b.test>")[0] == Address(harmless, "b.test")


def test_the_null_path_and_postmaster_pass_only_where_they_are_allowed() -> None:
    assert read_path("<> X", null=True) == (None, " X")
    assert read_path("<PostMaster>", bare_postmaster=True)[0] == Address("postmaster", "")
    for allowed in ({"null": True}, {}):
        with pytest.raises(AddressError):
            read_path("<postmaster>", **allowed)


def test_domains_compare_by_their_a_labels() -> None:
    assert read_address("a@EXÄMPLE.test").ascii_domain == read_address("a@xn--exmple-cua.TEST").ascii_domain
    assert read_address("a@straße.test").ascii_domain != "strasse.test"


SAME = [
    ("straße.test", "xn--strae-oqa.test"),
    ("STRAẞE.test", "xn--strae-oqa.test"),
    ("οδός.test", "xn--pxavk3b.test"),
    ("ΟΔΟΣ.test", "xn--pxavbq.test"),
    ("exämple．test", "xn--exmple-cua.test"),
    ("exämple。test｡", "xn--exmple-cua.test"),
    ("ｅxample.test.", "example.test"),
    ("EXA\u0308MPLE.TEST", "xn--exmple-cua.test"),
    ("_dmarc.exämple.test", "_dmarc.xn--exmple-cua.test"),
    ("XN--EXMPLE-CUA.test", "xn--exmple-cua.test"),
    ("\ufeffexample.test", "example.test"),
    ("faß.例え", "xn--fa-hia.xn--r8jz45g"),
]
NO_DOMAIN = [
    "exä mple.test", "a．b／.example.org", "ä＠evil.test", "exä\u202emple.test", "ä\ud800.test", "ä\x00.test",
    "ä..test", ".ä", "ä" * 60 + ".test", "a" * 64 + ".ä", "ä\u2028.test", "ä<b>.test", "\u3002ä",
]  # fmt: skip


@pytest.mark.parametrize(("written", "a"), SAME)
def test_a_domain_is_the_same_however_it_is_written(written: str, a: str) -> None:
    assert a_labels(written) == a


@pytest.mark.parametrize("text", NO_DOMAIN)
def test_what_no_a_labels_stand_for_is_no_domain(text: str) -> None:
    with pytest.raises(UnicodeError):
        a_labels(text)


@given(st.text(max_size=80))
def test_any_text_is_no_domain_or_has_one_form_in_ascii(text: str) -> None:
    try:
        made = a_labels(text)
    except UnicodeError:
        assert not text.isascii()
        return
    assert made.isascii()
    assert a_labels(made) == made


def test_relay_reports_and_settings_know_a_domain_by_the_same_name() -> None:
    for written, a in SAME:
        codes: list[str] = []
        assert Normaliser(Limits()).name(written, codes) == a
        assert codes == []
        assert Address("x", written).ascii_domain == a
        if not a.startswith("_"):
            assert (as_name(written), domain(written), checked_domain(written)) == (a, a, a)
    assert read_address("a@straße.test").ascii_domain == as_name("straße.test")
    for text in NO_DOMAIN[:3]:
        codes = []
        assert Normaliser(Limits()).name(text, codes) == text.lower().rpartition("@")[2]
        assert codes == ["unreadable_domain"]


@given(st.text(max_size=80))
def test_no_text_gives_anything_but_a_clean_address_or_a_refusal(text: str) -> None:
    for path in (text, f"<{text}>", f"<{text}@b.test>", f'<"{text}"@b.test>', f"<a@{text}>"):
        try:
            address, _ = read_path(path)
        except AddressError:
            continue
        assert address is not None
        assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in "".join(address))
        assert read_path(f"<{address}>") == (address, ""), "what is written back is read alike"


def test_parameters_keep_the_case_of_their_values() -> None:
    assert read_parameters(" size=12  Body=8BITMIME ENVID=aBc+3D MT-PRIORITY=3 SMTPUTF8 ") == {
        "SIZE": "12",
        "BODY": "8BITMIME",
        "ENVID": "aBc+3D",
        "MT-PRIORITY": "3",
        "SMTPUTF8": None,
    }


@pytest.mark.parametrize("text", ["SIZE=1", " SIZE=", " =1", " SIZE=1 SIZE=2", " -A=1", " A=b=c", " A=\t", " A=\x7f"])
def test_malformed_parameters_are_refused(text: str) -> None:
    with pytest.raises(AddressError):
        read_parameters(text)


@pytest.mark.parametrize(
    "name", ["mx.test", "[192.0.2.1]", "[IPv6:2001:db8::1]", "win_host-01", "localhost", "exämple.test"]
)
def test_names_that_hosts_give_themselves_are_taken(name: str) -> None:
    assert read_helo(name) == name


@pytest.mark.parametrize("name", ["", "a b", "<a>", "a\tb", "a\x00", "a\u2028b", "a" * 300, "a\r\nb"])
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(AddressError):
        read_helo(name)
