"""The plain reader: XML events become raw texts by field; nothing is interpreted here.

Events come from expat (`read_strict`) or from the lenient tokenizer (`parse_lenient`). No tree is built: memory is one
record, and one text of at most `text_cap` characters, however large the document is. Elements are matched by local
name, whatever their namespace or prefix is. What a field's text says never changes which field it lands in, so that
`fast` may learn the places from one record and use them for the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from xml.parsers import expat

from .errors import Refused

Node = list[Any]  # texts (str | None), nodes and lists of nodes, by the slot numbers below

MAX_DEPTH = 64  # a report has 6 levels; extensions may add some
MAX_UNKNOWN = 100_000  # elements outside the records that no report has
MAX_UNKNOWN_OF_RECORD = 1_000
MAX_TOKEN = 2 << 20  # bytes of one tag, comment or processing instruction
_SLICE = 256 << 10

# Slots of each kind of node.
ORG_NAME, EMAIL, CONTACT, REPORT_ID, DATE_RANGE, ERRORS, GENERATOR = range(7)
BEGIN, END = range(2)
P_DOMAIN, P_ADKIM, P_ASPF, P_P, P_SP, P_NP, P_PCT, P_FO, P_TESTING, P_DISCOVERY = range(10)
ROW, IDENTIFIERS, AUTH = range(3)
SOURCE_IP, COUNT, EVALUATED = range(3)
DISPOSITION, EVAL_DKIM, EVAL_SPF, REASONS = range(4)
R_TYPE, R_COMMENT, R_BARE = range(3)
HEADER_FROM, ENVELOPE_FROM, ENVELOPE_TO = range(3)
DKIM, SPF = range(2)
D_DOMAIN, D_SELECTOR, D_RESULT, D_HUMAN = range(4)
S_DOMAIN, S_SCOPE, S_RESULT, S_HUMAN = range(4)


class Table(NamedTuple):
    """The elements of one kind of node: local name -> (slot, table or None for a text, may it stand many times)."""

    size: int
    children: dict[str, tuple[int, Table | None, bool]]
    bare: int = -1  # slot of the node's own text


def _table(texts: str, nodes: dict[str, tuple[Table, bool]] | None = None, bare: bool = False) -> Table:
    children: dict[str, tuple[int, Table | None, bool]] = {}
    for slot, name in enumerate(texts.split()):
        children[name] = (slot, None, False)
    size = len(children)
    for name, (table, many) in (nodes or {}).items():
        children[name] = (size, table, many)
        size += 1
    return Table(size + bare, children, size if bare else -1)


_REASON = _table("type comment", bare=True)
_EVALUATED = _table("disposition dkim spf", {"reason": (_REASON, True)})
_ROW = _table("source_ip count", {"policy_evaluated": (_EVALUATED, False)})
_AUTH = _table(
    "",
    {
        "dkim": (_table("domain selector result human_result"), True),
        "spf": (_table("domain scope result human_result"), True),
    },
)
_RECORD = _table(
    "",
    {
        "row": (_ROW, False),
        "identifiers": (_table("header_from envelope_from envelope_to"), False),
        "auth_results": (_AUTH, False),
    },
)
_RECORD.children["identities"] = _RECORD.children["identifiers"]
_META = _table("org_name email extra_contact_info report_id", {"date_range": (_table("begin end"), False)})
_META.children["error"] = (ERRORS, Table(1, {}, 0), True)
_META.children["generator"] = (GENERATOR, None, False)
_META = _META._replace(size=7)
_POLICY = _table("domain adkim aspf p sp np pct fo testing discovery_method")
_FEEDBACK = Table(
    3, {"version": (0, None, False), "report_metadata": (1, _META, True), "policy_published": (2, _POLICY, True)}
)
_NOTHING = Table(0, {})
TOP = frozenset({"report_metadata", "policy_published", "record"})


class Rest(NamedTuple):
    """Raw texts of a report without its records."""

    namespace: str
    version: str | None
    metadata: list[Node]  # every report_metadata
    policies: list[Node]  # every policy_published
    codes: frozenset[str]


class Collector:
    """Takes XML events and keeps the raw texts of a report.

    Of a text, `text_cap` characters and one more are kept; of elements that may stand many times, `repeats` and one
    more. `on_record(node, codes)` is called at the end of each record; `codes` are the warnings that its structure
    earned.
    """

    def __init__(self, on_record: Callable[[Node, set[str]], None], text_cap: int, repeats: int = 100) -> None:
        self.namespace = ""
        self.codes: set[str] = set()
        self.root_open = False
        self.root_closed = False
        self._on_record = on_record
        self._cap = text_cap + 1
        self._repeats = repeats + 1  # one more than any limit, so that the excess is seen
        self._top: Node = [None, [], []]
        self._record_codes: set[str] | None = None
        self._unknown = 0
        self._unknown_of_record = 0
        # One frame an open element: its table, the node that it fills, the slot of its text (-1: none is wanted), its
        # text so far, and how many characters its parent's text may still take.
        self._frames: list[tuple[Table, Node, int, list[str] | None, int]] = []
        self._sink: list[str] | None = None
        self._room = 0

    def rest(self) -> Rest:
        """All but the records; whole after the last event."""
        version, metadata, policies = self._top
        return Rest(self.namespace, version, metadata, policies, frozenset(self.codes))

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """A start tag; raises Refused when the document is no report or is built to exhaust us."""
        local = name.rpartition(":")[2]
        frames = self._frames
        if not frames:
            self._root(local, name, attributes)
            return
        table, node = frames[-1][:2]
        entry = table.children.get(local) or table.children.get(local.lower())
        if entry is None:
            if len(frames) == 1 and local.lower() == "record":
                self._record_codes = set()
                self._unknown_of_record = 0
                self._push(_RECORD, [None] * 3, -1)
                return
            self._ignore()
            return
        slot, child, many = entry
        if child is None:
            if node[slot] is not None:
                self._repeated()
                return
            node[slot] = ""
            self._push(_NOTHING, node, slot)
            return
        if many:
            siblings = node[slot]
            if siblings is None:
                siblings = node[slot] = []
            new: Node = [None] * child.size
            if len(siblings) < self._repeats:
                siblings.append(new)
            else:
                self._count_unknown()
        elif node[slot] is not None:
            self._repeated()
            return
        else:
            new = node[slot] = [None] * child.size
        if local == "identities" and self._record_codes is not None:
            self._record_codes.add("identities")
        self._push(child, new, child.bare)

    @property
    def wants_text(self) -> bool:
        """Whether character data would be kept now."""
        return self._sink is not None and self._room > 0

    def data(self, text: str) -> None:
        """Character data; what is past the cap is not kept."""
        sink = self._sink
        if sink is None or self._room <= 0:
            return
        if len(text) > self._room:
            text = text[: self._room]
        self._room -= len(text)
        sink.append(text)

    def end(self, _name: str) -> None:
        """An end tag; its name is not checked, the caller matches tags."""
        frames = self._frames
        table, node, slot, sink, self._room = frames.pop()
        if sink is not None:
            node[slot] = "".join(sink)
        if frames:
            self._sink = frames[-1][3]
            if table is _RECORD:
                codes, self._record_codes = self._record_codes or set(), None
                self._on_record(node, codes)
        else:
            self.root_open, self.root_closed = False, True

    def _root(self, local: str, name: str, attributes: dict[str, str]) -> None:
        if local.lower() != "feedback":
            raise Refused("not_a_report", f"The root of the XML is {local[:40]!r}, not 'feedback'.")
        prefix = name.rpartition(":")[0]
        self.namespace = attributes.get(f"xmlns:{prefix}" if prefix else "xmlns", "")
        self.root_open = True
        self._push(_FEEDBACK, self._top, -1)

    def _push(self, table: Table, node: Node, slot: int) -> None:
        self._sink = [] if slot >= 0 else None
        self._frames.append((table, node, slot, self._sink, self._room))
        self._room = self._cap

    def _ignore(self) -> None:
        self._count_unknown()
        if len(self._frames) >= MAX_DEPTH:
            raise Refused("too_complex", f"The XML has elements more than {MAX_DEPTH} deep.")
        self._push(_NOTHING, [], -1)

    def _count_unknown(self) -> None:
        if self._record_codes is None:
            self._unknown += 1
            cap, now = MAX_UNKNOWN, self._unknown
        else:
            self._unknown_of_record += 1
            cap, now = MAX_UNKNOWN_OF_RECORD, self._unknown_of_record
        if now > cap:
            raise Refused("too_complex", f"The XML has more than {cap} elements that no report has.")

    def _repeated(self) -> None:
        (self.codes if self._record_codes is None else self._record_codes).add("repeated_field")
        self._ignore()


class Damaged(Exception):
    """The XML is not well formed; the lenient reader may still make something of it."""


def read_strict(blocks: Iterable[str], collector: Collector) -> None:
    """Feed a whole document to the collector, by the rules of XML 1.0; raises Damaged or Refused."""
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = collector.start
    parser.EndElementHandler = collector.end
    parser.CharacterDataHandler = collector.data
    parser.StartDoctypeDeclHandler = refuse_doctype
    fed = 0
    try:
        for block in blocks:
            raw = block.encode("utf-8")
            for at in range(0, len(raw), _SLICE):
                piece = raw[at : at + _SLICE]
                fed += len(piece)
                parser.Parse(piece, False)
                # Expat holds a token until it ends, and reads it again with each piece.
                if fed - parser.CurrentByteIndex > MAX_TOKEN:
                    raise Refused("too_complex", f"The XML has a tag or comment of more than {MAX_TOKEN} bytes.")
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise Damaged(str(error)) from None
    except UnicodeEncodeError as error:  # half of a surrogate pair, from UTF-16
        raise Damaged(str(error)) from None


def refuse_doctype(*_: object) -> None:
    """A document type is refused before anything in it is read: it can declare entities."""
    raise Refused("doctype", "The XML has a document type declaration, which no report needs.")
