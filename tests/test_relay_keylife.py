"""The life of keys: seen, settled, signing, retiring, retired; and what a watch makes of the DNS."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmarcview_relay.dkimdns import (
    DIFFERS,
    MISSING,
    OK,
    UNKNOWN,
    KeyWatch,
    compare,
    held_for,
    record,
    strings,
    txt,
    zone_line,
)
from dmarcview_relay.dns import Answer, DnsFailure
from dmarcview_relay.keeper import Keeper, make_keys
from dmarcview_relay.keyfile import KeyFault
from dmarcview_relay.keylife import advance, due, selector_for, withdraw
from dmarcview_relay.keys import NEW, PUBLISHED, RETIRED, RETIRING, SIGNING, KeyRing, SigningKey
from dmarcview_relay.settings import DAY, HOUR, Keys

T = 1_800_000_000.0
LIFE = 5 * DAY
SETTINGS = Keys(settle_hours=24, retire_days=7, rotate_days=90)


def key(
    selector: str, state: str = NEW, *, created: float = T, algorithm: str = "rsa", seen: float = 0.0
) -> SigningKey:
    return SigningKey(
        "example.org", selector, algorithm, 2048, Path(f"/keys/{selector}.pem"), created, state, created, seen, "QUJD"
    )


def step(
    keys: list[SigningKey], now: float, sights: Mapping[str, str], queued: tuple[str, ...] = ()
) -> list[SigningKey]:
    """The keys after one look."""
    changes = advance(
        keys,
        {("example.org", selector): sight for selector, sight in sights.items()},
        now,
        SETTINGS,
        queue_life=LIFE,
        queued=[("example.org", selector) for selector in queued],
    )
    after = {change.old.selector: change.new for change in changes}
    return [after.get(one.selector, one) for one in keys]


def states(keys: list[SigningKey]) -> dict[str, str]:
    return {one.selector: one.state for one in keys}


def test_the_first_key_of_a_domain_signs_as_soon_as_it_is_seen() -> None:
    keys = step([key("a")], T, {"a": MISSING})
    assert states(keys) == {"a": NEW}
    keys = step(keys, T + 60, {"a": OK})
    assert states(keys) in ({"a": PUBLISHED}, {"a": SIGNING})
    assert states(step(keys, T + 120, {"a": OK})) == {"a": SIGNING}


def test_a_successor_waits_until_it_was_seen_for_the_settle_time_and_then_the_old_one_retires() -> None:
    keys = [key("old", SIGNING, created=T - 90 * DAY, seen=T - 90 * DAY), key("new")]
    both = {"old": OK, "new": OK}
    keys = step(keys, T, both)
    assert states(keys) == {"old": SIGNING, "new": PUBLISHED}
    keys = step(keys, T + 24 * HOUR - 1, both)
    assert states(keys) == {"old": SIGNING, "new": PUBLISHED}
    keys = step(keys, T + 24 * HOUR, both)
    assert states(keys) == {"old": RETIRING, "new": SIGNING}
    switched = T + 24 * HOUR
    assert states(step(keys, switched + 7 * DAY - 1, both))["old"] == RETIRING
    assert states(step(keys, switched + 7 * DAY, both, queued=("old",)))["old"] == RETIRING
    assert states(step(keys, switched + 7 * DAY, both)) == {"old": RETIRED, "new": SIGNING}


def test_an_old_key_does_not_retire_before_the_last_mail_it_signed_is_given_up() -> None:
    short = replace(SETTINGS, retire_days=1)
    keys = [replace(key("old", RETIRING), since=T)]
    assert not advance(keys, {}, T + LIFE - 1, short, queue_life=LIFE)
    (change,) = advance(keys, {}, T + LIFE, short, queue_life=LIFE)
    assert change.new.state == RETIRED
    assert "may go" in str(change)


def test_a_gap_in_the_dns_starts_the_settle_time_anew() -> None:
    keys = [key("old", SIGNING, seen=T - DAY), key("new")]
    keys = step(keys, T, {"old": OK, "new": OK})
    keys = step(keys, T + 20 * HOUR, {"old": OK, "new": MISSING})
    assert states(keys)["new"] == NEW
    keys = step(keys, T + 21 * HOUR, {"old": OK, "new": OK})
    assert states(step(keys, T + 25 * HOUR, {"old": OK, "new": OK}))["new"] == PUBLISHED
    assert states(step(keys, T + 45 * HOUR, {"old": OK, "new": OK}))["new"] == SIGNING


def test_no_answer_changes_nothing_but_the_time_counts() -> None:
    keys = [key("old", SIGNING, seen=T - DAY), key("new", PUBLISHED, seen=T)]
    assert states(step(keys, T + HOUR, {"new": UNKNOWN})) == {"old": SIGNING, "new": PUBLISHED}
    assert states(step(keys, T + 24 * HOUR, {})) == {"old": SIGNING, "new": PUBLISHED}
    assert states(step(keys, T + 24 * HOUR, {"new": OK})) == {"old": RETIRING, "new": SIGNING}


def test_a_successor_takes_over_at_once_when_the_dns_lost_the_signing_key() -> None:
    keys = step([key("old", SIGNING, seen=T - DAY), key("new", PUBLISHED, seen=T)], T + 60, {"old": MISSING, "new": OK})
    assert states(keys) == {"old": RETIRING, "new": SIGNING}


def test_a_signing_key_that_is_gone_goes_on_signing_where_there_is_no_other() -> None:
    assert states(step([key("a", SIGNING, seen=T)], T, {"a": MISSING})) == {"a": SIGNING}


def test_ed25519_and_rsa_follow_only_their_own_kind() -> None:
    keys = [key("r", SIGNING, seen=T - DAY), key("e", algorithm="ed25519")]
    keys = step(step(keys, T, {"r": OK, "e": OK}), T + 60, {"r": OK, "e": OK})
    assert states(keys) == {"r": SIGNING, "e": SIGNING}


@given(
    st.lists(
        st.tuples(
            st.floats(0, 3 * DAY),
            st.lists(st.sampled_from([OK, OK, MISSING, DIFFERS, UNKNOWN]), min_size=3, max_size=3),
        ),
        max_size=30,
    )
)
def test_whatever_the_dns_does_one_key_signs_and_none_goes_back(looks: list[tuple[float, list[str]]]) -> None:
    keys = [key("a", SIGNING, created=T - 3, seen=T - DAY), key("b", created=T - 2), key("c", created=T - 1)]
    now = T
    order = {NEW: 0, PUBLISHED: 0, SIGNING: 1, RETIRING: 2, RETIRED: 3}
    for wait, sights in looks:
        now += wait
        after = step(keys, now, dict(zip("abc", sights, strict=True)))
        assert sum(one.state == SIGNING for one in after) == 1
        for old, new in zip(keys, after, strict=True):
            assert order[new.state] >= order[old.state]
            if (old.state, new.state) == (RETIRING, RETIRED):
                assert now - old.since >= max(7 * DAY, LIFE)
        keys = after


def test_a_key_is_due_once_and_not_while_its_successor_is_on_its_way() -> None:
    old = key("old", SIGNING, created=T - 90 * DAY)
    assert due([old], T, 90) == [old]
    assert due([old], T - 1, 90) == []
    assert due([old, key("new")], T, 90) == []
    assert due([old], T, 0) == []


def test_the_only_key_of_a_domain_cannot_be_withdrawn() -> None:
    one, two = key("one", SIGNING), key("two", created=T + 1)
    with pytest.raises(KeyFault, match="only one"):
        withdraw([one], one, T)
    assert withdraw([one, two], one, T).new.state == RETIRING
    assert withdraw([one, two], two, T).new.state == RETIRED
    with pytest.raises(KeyFault, match="already"):
        withdraw([one, replace(two, state=RETIRED)], replace(two, state=RETIRED), T)


def test_a_selector_names_the_host_and_the_day_and_is_new() -> None:
    assert selector_for("Mail_1.example.org", T, ()) == "mail1-20270115"
    assert selector_for("mail1", T, {"mail1-20270115"}) == "mail1-20270115-2"
    assert selector_for("-", T, (), "-ed25519") == "dkim-20270115-ed25519"


# -- what the DNS says


class Table:
    """DNS answers by (kind, name); an exception is raised."""

    def __init__(self, answers: dict[tuple[str, str], Answer | Exception] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[tuple[str, str]] = []

    async def ask(self, kind: str, name: str) -> Answer:
        self.asked.append((kind, name))
        await asyncio.sleep(0)
        found = self.answers.get((kind, name), Answer((), False))
        if isinstance(found, Exception):
            raise found
        return found


def shown(*texts: str) -> Answer:
    return Answer(tuple(" ".join(f'"{part}"' for part in strings(text)) for text in texts), True)


def test_a_long_record_is_split_and_read_back() -> None:
    text = "v=DKIM1; k=rsa; p=" + "A" * 700
    assert [len(part) for part in strings(text)] == [255, 255, 208]
    assert txt(" ".join(f'"{part}"' for part in strings(text))) == text
    assert zone_line("s._domainkey.example.org", text).count('"') == 6
    assert txt(r'"a\"b\\c" "\100d"') == 'a"b\\cdd'


@pytest.mark.parametrize(
    ("texts", "state"),
    [
        (["v=DKIM1; k=rsa; p=QUJD"], OK),
        (["p=QUJD"], OK),
        (["v=DKIM1; p=QU JD; t=s; n=note"], OK),
        (["v=spf1 -all", "v=DKIM1; p=QUJD"], OK),
        ([], MISSING),
        (["v=spf1 -all"], MISSING),
        (["v=DKIM1; p=QUJE"], DIFFERS),
        (["v=DKIM1; p="], DIFFERS),
        (["v=DKIM1; p=QUJD", "v=DKIM1; p=QUJE"], DIFFERS),
        (["k=rsa; v=DKIM1; p=QUJD"], DIFFERS),
        (["v=DKIM2; p=QUJD"], DIFFERS),
        (["v=DKIM1; k=ed25519; p=QUJD"], DIFFERS),
        (["v=DKIM1; h=sha1; p=QUJD"], DIFFERS),
        (["v=DKIM1; s=tlsrpt; p=QUJD"], DIFFERS),
    ],
)
def test_a_record_is_ok_only_when_a_receiver_would_use_it(texts: list[str], state: str) -> None:
    sight = compare(key("a"), texts)
    assert sight.state == state
    assert bool(sight.why) == (state != OK)


async def _watched() -> None:
    one, now = key("a"), [0.0]
    name = ("TXT", one.name)
    table = Table({name: shown(record(one))})
    watch = KeyWatch(table, 300, clock=lambda: now[0])
    assert await asyncio.gather(*(watch.state(one) for _ in range(50))) == [OK] * 50
    assert len(table.asked) == 1
    table.answers[name] = DnsFailure("timeout")
    now[0] = 301
    assert await watch.state(one) == OK, "a fault of the DNS holds no mail that was ok before"
    assert await watch.hold([one]) == ""
    table.answers[name] = Answer((), False)
    now[0] = 700
    assert await watch.state(one) == MISSING
    reason = await watch.hold([one])
    assert reason.startswith(held_for(one))
    assert reason.startswith("dkim example.org a: ")
    assert one.name in reason
    table.answers[name] = shown(record(one))
    now[0] += 31
    assert await watch.hold([one]) == ""


def test_the_watch_asks_once_and_forgives_faults_of_the_dns() -> None:
    asyncio.run(_watched())


def test_a_key_never_seen_is_unknown_while_the_dns_fails() -> None:
    one = key("a")
    watch = KeyWatch(Table({("TXT", one.name): DnsFailure("timeout")}), 300)
    assert asyncio.run(watch.state(one)) == UNKNOWN
    assert asyncio.run(watch.hold([one])).startswith("dkim ")


def test_one_good_signature_is_enough_to_let_a_mail_leave() -> None:
    good, bad = key("good"), key("bad")
    watch = KeyWatch(Table({("TXT", good.name): shown(record(good))}), 300)
    assert asyncio.run(watch.hold([bad, good])) == ""


# -- all of it, with real files


def test_keys_rotate_by_themselves(tmp_path: Path) -> None:
    now = [T]
    ring = KeyRing(tmp_path / "keys", clock=lambda: now[0])
    (first,) = make_keys(ring, "example.org", bits=2048, ed25519=False, hostname="mail", now=T)
    system, servers = Table(), {"192.0.2.1": Table(), "192.0.2.2": Table()}
    system.answers |= {
        ("NS", "example.org"): Answer(("ns1.example.org.", "ns2.example.org."), True),
        ("A", "ns1.example.org"): Answer(("192.0.2.1",), True),
        ("A", "ns2.example.org"): Answer(("192.0.2.2",), True),
    }

    def publish(one: SigningKey, *tables: Table) -> None:
        for table in tables:
            table.answers[("TXT", one.name)] = shown(record(one))

    keeper = Keeper(
        ring, system, SETTINGS, hostname="mail", queue_life=LIFE, clock=lambda: now[0], ask_directly=servers.__getitem__
    )

    def turn(seconds: float) -> dict[str, str]:
        now[0] += seconds
        asyncio.run(keeper.turn())
        return {one.selector: one.state for one in ring.all()}

    assert turn(60) == {first.selector: NEW}
    publish(first, system, servers["192.0.2.1"])
    assert turn(60) == {first.selector: NEW}, "one of its servers does not show it"
    publish(first, servers["192.0.2.2"])
    turn(60)
    assert turn(60) == {first.selector: SIGNING}
    made = turn(90 * DAY)
    (second,) = (one for one in ring.all() if one.selector != first.selector)
    assert made == {first.selector: SIGNING, second.selector: NEW}
    assert [one.selector for one in ring.signing("example.org")] == [first.selector]
    publish(second, system, *servers.values())
    assert turn(60)[second.selector] == PUBLISHED
    assert turn(24 * HOUR) == {first.selector: RETIRING, second.selector: SIGNING}
    assert [one.selector for one in KeyRing(tmp_path / "keys").signing("example.org")] == [second.selector]
    assert turn(7 * DAY)[first.selector] == RETIRED
