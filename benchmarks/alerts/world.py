"""The simulator: reports on made-up domains, with the day each report arrives on.

Reporters differ in size, lateness, usual failing shares and time zone. Days differ by weekday and by chance, some are
bursts; failures come in cells of one mind (beta-binomial) and in lumps of forwarders that nobody recognised. All runs
of a scenario are drawn at once; the same seed gives the same reports.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from .scenarios import Half, Scenario

MECHANISMS = ("spf", "dkim", "dmarc")
WARM, BEFORE, AFTER = 77, 28, 15  # days: to learn from, judged before the onset, judged from it on
DAYS = WARM + BEFORE + AFTER
REPORTERS = 8
NEVER = 10**6
LATENESS = np.array([0.70, 0.22, 0.05, 0.02, 0.01])  # chance of an arrival 1 to 5 days after the event day
PASS, SPF, DKIM, BOTH = range(4)  # kinds of messages by what fails

Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Reports:
    """One entry a report: arrays of one length, and what is true of each run.

    `failed` has a row for each of MECHANISMS. `onset` is by run: the event day on which the scenario begins.
    """

    run: Array
    day: Array
    reporter: Array
    arrival: Array
    total: Array
    failed: Array
    unknown: Array
    onset: Array


def simulate(half: Half, runs: int) -> tuple[Reports, list[Scenario]]:
    """Reports of every scenario of a half, `runs` domains each (times its own `runs`), and the scenario of each run."""
    parts, owners, first = [], [], 0
    for place, scenario in enumerate(half.scenarios):
        count = runs * scenario.runs
        parts.append(_reports(scenario, count, first, np.random.default_rng([half.seed, place])))
        owners += [scenario] * count
        first += count
    return Reports(*(np.concatenate([getattr(p, f.name) for p in parts], axis=-1) for f in fields(Reports))), owners


def _reports(s: Scenario, runs: int, first: int, rng: np.random.Generator) -> Reports:
    """Reports of `runs` domains, numbered from `first` on."""
    onset = WARM + BEFORE + rng.integers(-6, 1, runs)
    day = np.arange(DAYS)
    since = day - onset[:, None]
    on = (since >= 0) & (since < (s.days or NEVER))
    size = 1 / np.arange(1, REPORTERS + 1) * rng.lognormal(0, 0.4, (runs, REPORTERS))
    size = -np.sort(-size / size.sum(axis=1, keepdims=True))
    here = np.ones((runs, DAYS, REPORTERS), np.bool_)
    if s.joins:  # from the third largest on: they did not report before
        here[:, :, 2 : 2 + s.joins] = (since >= 0)[:, :, None]
    kinds = _ordinary(s, runs, size, np.where(on, s.volume, 1.0), rng)
    kinds += _lumps(s, runs, size, since, rng)
    _fail(s, kinds, on, since, rng)
    kinds = _zones(kinds, rng)
    unknown = _unknown(s, runs, size, on, rng)
    seen = here & ((kinds.sum(axis=0) > 0) | (unknown > 0)) & (rng.random(here.shape) > 0.01)
    arrival = day[:, None] + _lateness(runs, rng)
    if s.silent:
        seen[:, :, : s.silent] &= ~on[:, :, None]
    if s.late:
        held = on & (since < s.late)
        together = (onset + s.late + 1)[:, None, None]
        arrival = np.where(held[:, :, None], np.maximum(arrival, together), arrival)
    run, at, reporter = np.nonzero(seen)
    what, strange, when = kinds[:, run, at, reporter], unknown[run, at, reporter], arrival[run, at, reporter]
    if s.doubled:
        again = (since[run, at] >= 0) & (rng.random(len(run)) < s.doubled)
        run, at, reporter, strange = (np.concatenate([x, x[again]]) for x in (run, at, reporter, strange))
        when = np.concatenate([when, when[again] + rng.integers(0, 3, int(again.sum()))])
        what = np.concatenate([what, what[:, again]], axis=1)
    failed = np.stack([what[SPF] + what[BOTH], what[DKIM] + what[BOTH], what[BOTH]])
    return Reports(run + first, at, reporter, when, what.sum(axis=0), failed, strange, onset)


def _ordinary(
    s: Scenario, runs: int, size: npt.NDArray[np.float64], level: npt.NDArray[np.float64], rng: np.random.Generator
) -> Array:
    """Messages by (kind, run, day, reporter) of days on which nothing happens."""
    w = s.world
    shape = (runs, DAYS, REPORTERS)
    weekday = np.where((np.arange(DAYS) + rng.integers(0, 7, (runs, 1))) % 7 >= 5, w.weekend, 1.0)
    busy = rng.lognormal(0, 0.25, (runs, DAYS))
    busy *= np.where(rng.random((runs, DAYS)) < 0.03, rng.uniform(2, 6, (runs, DAYS)), 1.0)
    total = rng.poisson((w.volume * weekday * busy * level)[:, :, None] * size[:, None])
    weight = 1 / w.rho - 1
    failing = []
    for base in (w.spf, w.dkim):
        # reporters see other mixes of mail, and so other usual shares
        share = np.clip(base * rng.lognormal(-0.1, 0.45, (runs, 1, REPORTERS)), 1e-4, 0.9)
        failing.append(rng.binomial(total, rng.beta(share * weight, (1 - share) * weight, shape)))
    spf, dkim = failing
    both = rng.hypergeometric(spf, total - spf, dkim)
    return np.stack([total - spf - dkim + both, spf - both, dkim - both, both])


def _lumps(s: Scenario, runs: int, size: npt.NDArray[np.float64], since: Array, rng: np.random.Generator) -> Array:
    """What forwarders bring on some days to one reporter: SPF fails, and DKIM of what a list changed."""
    out = np.zeros((4, runs, DAYS, REPORTERS), np.int64)
    count = np.where(rng.random((runs, DAYS)) < s.world.lumps, 1 + rng.poisson(s.world.lump * s.world.volume), 0)
    count += rng.poisson(np.where((since >= 0) & (since < 2), s.burst * s.world.volume / 2, 0.0))
    where = (rng.random((runs, DAYS, 1)) > np.cumsum(size, axis=1)[:, None, :-1]).sum(axis=2)
    kind = np.where(rng.random((runs, DAYS)) < 0.35, BOTH, SPF)
    run, day = np.nonzero(count)
    out[kind[run, day], run, day, where[run, day]] = count[run, day]
    return out


def _fail(s: Scenario, kinds: Array, on: npt.NDArray[np.bool_], since: Array, rng: np.random.Generator) -> None:
    """Make the scenario's share of the mail fail; the first day from some hour on, or from midnight."""
    if not s.fails:
        return
    first = 1.0 if s.midnight else rng.uniform(0.2, 1, (len(on), 1))
    part = np.where(since == 0, first, 1.0) * on * s.share
    if s.fails == "new":
        more = rng.poisson(kinds.sum(axis=0).mean(axis=1, keepdims=True) * part[:, :, None])
        kinds[BOTH] += more
        return
    moves = {"spf": ((PASS, SPF), (DKIM, BOTH)), "dkim": ((PASS, DKIM), (SPF, BOTH)),
             "both": ((PASS, BOTH), (SPF, BOTH), (DKIM, BOTH))}[s.fails]  # fmt: skip
    for old, new in moves:
        moved = rng.binomial(kinds[old], part[:, :, None])
        kinds[old] -= moved
        kinds[new] += moved


def _zones(kinds: Array, rng: np.random.Generator) -> Array:
    """Let the day of some reporters end elsewhere than ours: a part of their mail counts for the next one."""
    part = rng.choice([0.0, 0.0, 0.0, 0.3, 0.4], (*kinds.shape[1:2], 1, REPORTERS))
    moved = rng.binomial(kinds[:, :, :-1], part)
    kinds[:, :, :-1] -= moved
    kinds[:, :, 1:] += moved
    return kinds


def _unknown(
    s: Scenario, runs: int, size: npt.NDArray[np.float64], on: npt.NDArray[np.bool_], rng: np.random.Generator
) -> Array:
    """Messages of unknown sources by (run, day, reporter)."""
    level = s.world.unknown * rng.gamma(1.5, 1 / 1.5, (runs, DAYS))
    if s.campaign:
        level = level + on * (s.world.unknown * s.campaign + 60)
    return rng.poisson(level[:, :, None] * size[:, None])


def _lateness(runs: int, rng: np.random.Generator) -> Array:
    """Days from the event day to the arrival, by (run, day, reporter): each reporter has its habit."""
    habit = rng.choice([0, 0, 0, 0, 1, 2], (runs, 1, REPORTERS))
    drawn = np.searchsorted(np.cumsum(LATENESS)[:-1], rng.random((runs, DAYS, REPORTERS)), side="right")
    return 1 + np.minimum(drawn + habit * (rng.random((runs, DAYS, REPORTERS)) < 0.6), 6)
