"""What it costs to say whose 10,000 sources are: by the column, beside the same rules asked of one source at a time.

    python -m benchmarks.classify_speed

Forty domains of 250 sources, no two alike, with own networks, labels, reverse names and a service. Both sides get the
same facts and must find the same classes; CPU time, the best of five rounds, after one that reads the tables.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from dmarcview.geo import Geo, table
from dmarcview.services import directory
from dmarcview.sources import Refresher, Who, classify, habits, said
from dmarcview.sources.bulk import Judge
from dmarcview.sources.traits import Knowledge
from dmarcview.store import Label, NamedAddress, SourceFacts, blocks, columns
from dmarcview.store.facts import Named

SOURCES, ROUNDS = 10_000, 5
WANTED, WANTED_SECONDS = 3.0, 0.3  # times the speed of one at a time; seconds on an idle core of 2020, for the eye
NOW, DAY = 1_790_000_000, 86_400


def sources() -> list[SourceFacts]:
    """Every source has other counts, and a tenth of the names that sign or bounce for it."""
    return [
        SourceFacts(
            f"d{n % 40}.example", f"{11 + n % 200}.{n // 200 % 250}.7.{n % 250}", 100 + n, 50, n % 3 * 30, n % 2 * 40,
            0, n % 7, NOW - 30 * DAY, NOW, 20,
            dkim=(Named(f"d{n % 40}.example", f"s{n % 4}", True, 40), Named(f"m{n % 300}.other.example", "x", True, 9)),
            spf=(Named(f"bounce{n % 500}.other.example", "mfrom", True, 90),),
            envelope_from=(Named(f"bounce{n % 500}.other.example", None, None, 90),),
        )
        for n in range(SOURCES)
    ]  # fmt: skip


def best(run: Callable[[], Counter[str]]) -> tuple[float, Counter[str]]:
    """Seconds of CPU time, and the classes found."""
    found, spent = run(), []
    for _ in range(ROUNDS):
        start = time.process_time()
        found = run()
        spent.append(time.process_time() - start)
    return min(spent), found


def main(_: list[str]) -> int:
    """Print both and their ratio; 1 when it is too small or the two do not agree."""
    facts, geo, services = sources(), Geo([table()]), directory()
    labels = [Label("network", f"10.{n}.0.0/16", "own") for n in range(50)]
    rules = said(["203.0.113.0/24"], ["Google"], labels)
    names = {
        fact.source_ip: NamedAddress(fact.source_ip, f"host-{n}.sender.example", NOW) for n, fact in enumerate(facts)
    }
    who_of = Refresher(geo, services, (), ())._who

    def by_column() -> Counter[str]:
        known = Knowledge(geo, services, rules, who_of, names)
        made = Judge(columns.from_facts(facts), known, blocks.schema().empty_table(), {}).table()
        return Counter(made["source_class"].to_pylist())

    def one_by_one() -> Counter[str]:
        domains: dict[str, list[tuple[SourceFacts, Who]]] = {}
        for fact in facts:
            who = who_of(fact, geo.place(fact.source_ip), names[fact.source_ip].reverse_dns)
            domains.setdefault(fact.domain, []).append((fact, who))
        return Counter(
            classify(fact, who, usual, rules, None).source_class
            for found in domains.values()
            for usual in (habits(found),)
            for fact, who in found
        )

    (ours, classes), (alone, same) = best(by_column), best(one_by_one)
    slow = alone < WANTED * ours or classes != same
    print(
        f"classify, {SOURCES:,} sources: {ours:.3f} s of CPU (wanted {WANTED_SECONDS:g})   one at a time {alone:.3f} s"
        f"   {alone / ours:.1f} x (wanted {WANTED:g}){'  TOO SLOW' if slow else ''}"
        f"{'' if classes == same else f'  NOT THE SAME: {classes} {same}'}"
    )
    return int(slow)


if __name__ == "__main__":
    raise SystemExit(main([]))
