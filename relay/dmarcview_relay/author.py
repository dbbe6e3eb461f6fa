"""The mailboxes of a From or Sender field, read so strictly that no other software can read different ones.

RFC 5322 section 3.4 without its obsolete forms and without what readers are known to disagree on: groups, routes,
quoted local parts, nested or address-like comments, brackets in names, and encoded words that hide any of these.
"""

from __future__ import annotations

import binascii
import re

from dmarcview_smtp.address import Address, AddressError, read_address

_UTF8 = r"\u0080-\U0010ffff"
_ATEXT = rf"A-Za-z0-9!#$%&'*+\-/=?^_`{{|}}~{_UTF8}"
_TOKEN = re.compile(
    rf"""(?P<blank>[ \t]+)
      | (?P<address>[{_ATEXT}]+(?:\.[{_ATEXT}]+)*@[{_ATEXT}.]+)
      | (?P<bracketed><[{_ATEXT}.]+@[{_ATEXT}.]+>)
      | (?P<word>[{_ATEXT}][{_ATEXT}.]*)
      | "(?P<quoted>(?:[ !\#-\[\]-~\t{_UTF8}]|\\["\\])*)"
      | \((?P<comment>[ \t{_ATEXT}.,]*)\)
      | (?P<comma>,)""",
    re.VERBOSE,
)
_ENCODED = re.compile(r"=\?([A-Za-z0-9_\-]{1,40})(?:\*[A-Za-z0-9\-]{1,20})?\?([BbQq])\?([!->@-~]*)\?=")
_CHARSETS = re.compile(
    r"us-ascii|utf-?8|iso-8859-\d{1,2}|windows-125\d|cp125\d|koi8-[ru]|gb2312|gbk|gb18030|big5|euc-kr|euc-jp"
    r"|iso-2022-jp|shift_jis|ks_c_5601-1987|tis-620",
    re.IGNORECASE,
)
_ESCAPED = re.compile(r"\\(.)")
_UNSAFE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff<>]")
_LISTS = re.compile(r"[,;:]")
_FAULTS = {
    ":": "it is a group, or has a colon outside of quotes",
    ";": "addresses are parted by commas",
    "<": "the brackets hold no plain address",
    ">": "the brackets hold no plain address",
    '"': "a quoted name is open, or holds brackets or odd backslashes",
    "(": "a comment holds more than words",
    ")": "a comment holds more than words",
    "@": "there is no plain local part before an at sign",
    ".": "a name begins with a dot",  # Python's own parser fails at it
}


class AuthorError(ValueError):
    """The field cannot be taken; the text says why and may be shown to the client."""


def read_mailboxes(value: str) -> tuple[Address, ...]:
    """The addresses of an unfolded field value, in order, at least one. Raises AuthorError."""
    found: list[Address] = []
    address: Address | None = None
    named = False  # a word or a quoted string stands before the address
    at = 0
    while at < len(value):
        token = _TOKEN.match(value, at)
        if token is None:
            raise AuthorError(_FAULTS.get(value[at], "a character does not belong there"))
        at = token.end()
        kind = token.lastgroup or ""
        text = token[kind]
        if kind == "comma":
            found.append(_known(address))
            address, named = None, False
        elif kind == "comment":
            _check_name(text)
        elif kind != "blank":
            if address is not None:
                raise AuthorError("something follows an address")
            if kind == "bracketed":
                address = _address(text[1:-1])
            elif kind == "address":
                if named:
                    raise AuthorError("an address after a name stands in brackets")
                address = _address(text)
            else:
                named = True
                _check_name(_ESCAPED.sub(r"\1", text))
    found.append(_known(address))
    return tuple(found)


def _known(address: Address | None) -> Address:
    if address is None:
        raise AuthorError("there is no address, or an empty place in the list")
    return address


def _address(text: str) -> Address:
    if "=?" in text:  # some readers decode it before they look for the address
        raise AuthorError("an address holds no encoded words")
    try:
        return read_address(text)
    except AddressError as error:
        raise AuthorError(str(error)) from None


def _check_name(text: str) -> None:
    """Refuse a name in which a careless reader would see an address or an end of the field."""
    if _UNSAFE.search(text) or ("@" in text and _LISTS.search(text)):
        raise AuthorError("a name holds brackets, control characters, or an address in a list")
    if "=?" not in text:
        return
    if "=?" in _ENCODED.sub("", text):
        raise AuthorError("an encoded word is not well formed")
    for word in _ENCODED.finditer(text):
        shown = _decoded(*word.groups())
        if _UNSAFE.search(shown) or "@" in shown or '"' in shown:
            raise AuthorError("an encoded word hides an address, quotes or control characters")


def _decoded(charset: str, encoding: str, text: str) -> str:
    """The text of an encoded word (RFC 2047 section 4). Raises AuthorError for one that few could read."""
    if not _CHARSETS.fullmatch(charset):
        raise AuthorError("the charset of an encoded word is not known")
    try:
        raw = (
            binascii.a2b_base64(text, strict_mode=True)
            if encoding in "Bb"
            else binascii.a2b_qp(text.encode(), header=True)
        )
        return raw.decode(charset, "replace")
    except (binascii.Error, LookupError):
        raise AuthorError("an encoded word is not well formed") from None
