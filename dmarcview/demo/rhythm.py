"""How mail ebbs and flows in the demo: weekdays, seasons, episodes, and how a number is drawn. Pure, seeded by callers.

Ages are whole days before the day of the demo, times seconds since 1970, UTC.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from random import Random

from dmarcview.demo.story import EPISODES, Episode, Outcome, Sender

SEED = 7489
DAY = 86_400
HOUR = 3_600
SMALL_MEAN = 30.0  # below it counts are drawn one by one


def mean(sender: Sender, day: date, age: int, rng: Random) -> float:
    """Messages that this sender sends on a day to everybody, give or take."""
    episode = episode_of(sender, age)
    factor = episode.factor if episode else 1.0
    return sender.daily * sender.week[day.weekday()] * season(day, age) * factor * math.exp(rng.gauss(0, 0.18))


def outcomes(sender: Sender, age: int) -> tuple[Outcome, ...]:
    """How its mail is judged on a day of that age."""
    episode = episode_of(sender, age)
    return episode.outcomes if episode and episode.outcomes else sender.outcomes


def episode_of(sender: Sender, age: int) -> Episode | None:
    """What happens to a sender on a day of that age, if anything."""
    for episode in EPISODES:
        if episode.domain == sender.domain and episode.sender == sender.name and episode.first >= age >= episode.last:
            return episode
    return None


def season(day: date, age: int) -> float:
    """Slow growth over the year, and the dip between the years."""
    quiet = (day.month, day.day) >= (12, 23) or (day.month, day.day) <= (1, 3)
    return (1.25 - 0.0007 * age) * (0.55 if quiet else 1.0)


def poisson(rng: Random, mean: float) -> int:
    """A Poisson draw; by the normal curve above `SMALL_MEAN`."""
    if mean >= SMALL_MEAN:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    floor, product, n = math.exp(-mean), rng.random(), 0
    while product > floor:
        product *= rng.random()
        n += 1
    return n


def midnight(day: date) -> int:
    """The first second of a day."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
