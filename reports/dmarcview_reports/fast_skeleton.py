"""One expression for all texts that have the same tags: finds the fields of a record without reading XML."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .model import DkimResult, Shape, SpfResult
from .parse_reader import (
    AUTH,
    D_SELECTOR,
    DISPOSITION,
    DKIM,
    EVAL_DKIM,
    EVAL_SPF,
    EVALUATED,
    IDENTIFIERS,
    REASONS,
    ROW,
    SPF,
    Node,
    Rest,
)
from .parse_record import Codes, Evaluated, Normaliser, in_order

WHITE = r"[ \t\r\n]*"
# Characters that can stand in a text and change neither the structure around it nor, by XML's rules, themselves: no
# markup, nothing that XML forbids, no CR (XML 1.0 sections 2.2, 2.4 and 2.11).
FREE = r"[^<>&\x00-\x08\x0b-\x1f\ufffe\uffff\ud800-\udfff]*+"
_NEVER = r"((?!))?"  # a group that takes no part: the text of an element that is not there

_TOKENS = re.compile(r"(<[^<>]*>)")
_DECLARATION = re.compile(r"<\?xml[^<>]*\?>")
_TAG = re.compile(r"<(/?)([A-Za-z_][\w.:-]*)[^<>]*?(/?)>")
_MARK = "\ue000{}\ue001"
_MARKED = re.compile("\ue000([0-9]+)\ue001")
MAX_TEXTS = 400


class Outline(NamedTuple):
    """Tags and white space around the free texts of a piece: `literals` has one more entry than there are texts."""

    literals: tuple[str, ...]

    @property
    def key(self) -> str:
        """Equal for pieces with the same tags and white space."""
        return "\0".join(self.literals)

    def marked(self) -> str:
        """The piece with the number of each free text, from 1, in its place."""
        parts = [self.literals[0]]
        for number, literal in enumerate(self.literals[1:], 1):
            parts += (_MARK.format(number), literal)
        return "".join(parts)


def outline(piece: str) -> Outline | None:
    """The outline of a piece, or None when it has more than tags, white space and texts inside innermost elements."""
    declaration = _DECLARATION.match(piece)
    start = declaration.end() if declaration else 0
    if "&" in piece or "\ue000" in piece or "<!" in piece or piece.find("<?", start) >= 0:
        return None
    tokens = _TOKENS.split(piece[start:])
    tags = [_TAG.fullmatch(tag) for tag in tokens[1::2]]
    literals, pending = [], piece[:start] + tokens[0]
    if tokens[0].strip(" \t\r\n"):
        return None
    for place, tag in enumerate(tags):
        if tag is None:
            return None
        text = tokens[2 * place + 2]
        pending += tag.group()
        after = tags[place + 1] if place + 1 < len(tags) else None
        if after and not tag.group(1) and not tag.group(3) and after.group(1) and after.group(2) == tag.group(2):
            literals.append(pending)
            pending = ""
        elif text.strip(" \t\r\n"):
            return None
        else:
            pending += text
    literals.append(pending)
    return Outline(tuple(literals)) if len(literals) <= MAX_TEXTS else None


def _expression(drawn: Outline, free: Callable[[int], str]) -> Callable[[str], re.Match[str] | None]:
    parts = [re.escape(drawn.literals[0])]
    for number, literal in enumerate(drawn.literals[1:], 1):
        parts += (free(number), re.escape(literal))
    return re.compile("".join(parts) + _NEVER).fullmatch


class Frame:
    """The expression of a document without its records, and its fields."""

    __slots__ = ("_rest", "match")

    def __init__(self, drawn: Outline, rest: Rest) -> None:
        """`rest` is what the plain reader made of `drawn.marked()`."""
        self.match = _expression(drawn, lambda _: f"({FREE})")
        self._rest = _numbered(rest)

    def rest(self, match: re.Match[str]) -> Rest:
        """What the plain reader gives for the document that matched."""
        namespace, version, metadata, policies, codes = self._rest
        group = match.group
        version = group(version) if isinstance(version, int) else version
        return Rest(namespace, version, _filled(metadata, group), _filled(policies, group), codes)


def _numbered(value: Any) -> Any:
    """A copy of nested lists in which every marked text is its group's number, and any other text itself."""
    if isinstance(value, str):
        found = _MARKED.fullmatch(value)
        return int(found.group(1)) if found else value
    return [_numbered(part) for part in value] if isinstance(value, list | tuple) else value


def _filled(value: list[Any], group: Callable[[int], Any]) -> list[Any]:
    return [
        group(part) if type(part) is int else _filled(part, group) if type(part) is list else part for part in value
    ]


class Skeleton:
    """The expression of an outline, and which group of it is which field."""

    __slots__ = ("_dkim", "_evaluated", "_names", "_reasons", "_said", "_simple", "_spf", "_structure", "match")

    def __init__(self, drawn: Outline, node: Node, structure: Iterable[str]) -> None:
        """`node` and `structure` are what the plain reader made of `drawn.marked()`."""
        never = len(drawn.literals)

        def groups(texts: Iterable[str | None]) -> tuple[int, ...]:
            found = [_MARKED.fullmatch(text) if text else None for text in texts]
            return tuple(int(one.group(1)) if one else never for one in found)

        row, auth = node[ROW], node[AUTH]
        said = row[EVALUATED]
        self._evaluated = groups((said[DISPOSITION], said[EVAL_DKIM], said[EVAL_SPF])) if said else None
        self._reasons = [groups(entry) for entry in (said[REASONS] or ())] if said else []
        self._names = groups(node[IDENTIFIERS] or (None, None, None))
        self._dkim = [groups(entry) for entry in (auth[DKIM] or ())] if auth else []
        self._spf = [groups(entry) for entry in (auth[SPF] or ())] if auth else []
        lacking = (("missing_policy_evaluated", said), ("missing_auth_results", auth))
        self._structure = [*structure, *(code for code, part in lacking if part is None)]
        self._simple = not self._structure and not self._reasons and self._evaluated is not None
        self._said = self._evaluated or ()
        self.match = _expression(drawn, self._free)

    def _free(self, _number: int) -> str:
        """Expression of the text of a group."""
        return f"({FREE})"

    def shape(self, match: re.Match[str], normal: Normaliser) -> tuple[Shape, Codes]:
        """What `normal.shape` gives for the piece that matched."""
        group = match.group
        evaluated, codes = normal.evaluated[group(*self._evaluated)] if self._evaluated else (_NOT_EVALUATED, ())
        return normal.assemble(
            evaluated,
            [normal.reason[group(*entry)] for entry in self._reasons],
            group(*self._names),
            [normal.dkim[group(*entry)] for entry in self._dkim],
            [normal.spf[group(*entry)] for entry in self._spf],
            [*self._structure, *codes],
        )


class Tight(Skeleton):
    """A skeleton that takes names only when they are canonical already: they need no second look."""

    __slots__ = ()

    def _free(self, number: int) -> str:
        names = {*self._names, *(entry[0] for entry in (*self._dkim, *self._spf))}
        if number in names:
            return _NAME
        return _SELECTOR if number in {entry[D_SELECTOR] for entry in self._dkim} else f"({FREE})"

    def shape(self, match: re.Match[str], normal: Normaliser) -> tuple[Shape, Codes]:
        """What `normal.shape` gives for the piece that matched."""
        limits = normal.limits
        group = match.group
        header_from, envelope_from, envelope_to = group(*self._names)
        if (
            not self._simple
            or header_from is None
            or len(self._dkim) > limits.dkim_results
            or len(self._spf) > limits.spf_results
        ):
            return super().shape(match, normal)
        evaluated, codes = normal.evaluated[group(*self._said)]
        signed, sent = [], []
        for entry in self._dkim:
            domain, selector, said, human = group(*entry)
            result, found = normal.dkim_result[said, human]
            if domain is None and selector is None and result == _NO_RESULT:
                return super().shape(match, normal)
            codes += found
            signed.append(_new(DkimResult, (domain, selector, *result)))
        for entry in self._spf:
            domain, scope, said, human = group(*entry)
            result, found = normal.spf_result[scope, said, human]
            if domain is None and result == _NO_SPF_RESULT:
                return super().shape(match, normal)
            codes += found
            sent.append(_new(SpfResult, (domain, *result)))
        shape = _new(Shape, (*evaluated, (), (), header_from, envelope_from, envelope_to, tuple(signed), tuple(sent)))
        return shape, in_order(codes) if codes else ()


# Names as `Normaliser.name` leaves them, and selectors as `Normaliser.text` does.
_NAME = r"([a-z0-9_.-]++(?<!\.))"
_SELECTOR = r"([a-z0-9A-Z_.=+/-]++)"
_NOT_EVALUATED = Evaluated(None, None, None)
_NO_RESULT = (None, None)
_NO_SPF_RESULT = (None, None, None)
_new = tuple.__new__
