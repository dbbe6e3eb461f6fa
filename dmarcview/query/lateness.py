"""When is a day in? Each reporter is held against its own history of lateness. Pure: frames in, values out.

A report tells of the day that holds the middle of its period, so that periods of any zone find their day. It is late by
the time from the end of that day to its receipt. Receipts are known of mails that were believed (`pass`); what was
imported from files arrived, and says nothing about lateness.

A reporter weighs by its usual messages, which are its own word: whoever has a domain may report a million. So none
weighs more than all others together, and one alone keeps no day open for longer than USUAL_WAIT.

A reporter that has stopped is awaited no more: more days in a row than it ever left out are over by its own lateness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

HOUR, DAY = 3_600, 86_400
HISTORY_DAYS = 28  # before the day that is judged
USUAL_DAYS = 7  # with reports on so many of them a reporter is usual
USUAL_REPORTS = 0.9  # of the usual number for a day: with fewer, some are still awaited
LEFT_OPEN = 0.05  # of the usual messages: reporters that together bring no more keep no day open
QUANTILE = 0.99  # of its reports came within a reporter's own lateness
LEAST_WAIT, USUAL_WAIT, MOST_WAIT = DAY, 3 * DAY, 7 * DAY  # bounds of that lateness; the middle one while it is unknown
STOPPED_DAYS = 3  # so many days in a row are missing at least of a reporter that has stopped
FEW_RECEIPTS = 7  # with fewer, lateness is not known
HOURS = MOST_WAIT // HOUR  # places of a histogram; the last one holds all that came later
AT_ONCE = 200  # domains whose receipts are in memory together
PAIRS_AT_ONCE = 4_000  # the same of pairs of domain and reporter
UNKNOWN = -1  # hour of a report whose receipt says nothing

ARRIVED, AWAITED, LATE, SILENT, UNUSUAL = "arrived", "awaited", "late", "silent", "unusual"
ARRIVALS = ("submitter", "day", "hour", "reports", "messages")


@dataclass(frozen=True, slots=True)
class Judged:
    """What may be said of days.

    `days`: day (datetime64[s]); share (0..1 of the weights of all usual reporters, by who has reported; NaN while none
    is usual); complete; messages; expected (usual reporters), arrived (of these); late, awaited, silent
    (their names, largest first). `reporters`, one row a day and reporter that is usual or has reported: day, submitter,
    messages, reports, usual (bool), expected (median messages of its days before), state (arrived, awaited, late: past
    its median lateness, silent: past its own lateness or stopped, unusual), until (datetime64[s]: from then on it is
    silent; NaT unless awaited or late).
    """

    days: pd.DataFrame
    reporters: pd.DataFrame


def waits(receipts: Any) -> Any:
    """Own lateness in seconds of each row of receipts by hour (shape: reporters x HOURS): by then 99 % had come."""
    import numpy as np

    found = np.clip(_quantile(receipts, QUANTILE), LEAST_WAIT, MOST_WAIT)
    known = np.asarray(receipts).sum(axis=-1) >= FEW_RECEIPTS
    return np.where(known, found, np.maximum(found, USUAL_WAIT))


def medians(receipts: Any) -> Any:
    """Usual lateness in seconds of each such row; a day where none is known."""
    import numpy as np

    return np.where(np.asarray(receipts).sum(axis=-1) > 0, _quantile(receipts, 0.5), DAY)


def _quantile(receipts: Any, part: float) -> Any:
    """The end of the hour by which this part of each row had come: the nearest rank, so no value is made up."""
    import numpy as np

    upto = np.cumsum(receipts, axis=-1)
    rank = np.maximum(1, np.ceil(part * upto[..., -1:] - 1e-9))
    reached = (upto >= rank).argmax(axis=-1)
    return (reached + 1) * HOUR


def judge(arrivals: pd.DataFrame, first: int, last: int, now: int) -> Judged:
    """Judge the days `first` to `last` (days since 1970, both included) as of the second `now`.

    `arrivals`, in any order: submitter, day (since 1970), hour (whole hours from the end of the day to the receipt, at
    most HOURS - 1; UNKNOWN), reports and messages with these; of the HISTORY_DAYS before `first` too.
    """
    import pandas as pd

    known = _Known(arrivals, first - HISTORY_DAYS, last)
    seen = [known.judge(day, now) for day in range(first, last + 1)]
    columns = ("day", "share", "complete", "messages", "expected", "arrived", LATE, AWAITED, SILENT)
    days = pd.DataFrame([known.told(one, now) for one in seen], columns=list(columns))
    return Judged(days, known.listed(seen))


def complete(arrivals: pd.DataFrame, first: int, last: int, now: int) -> tuple[list[str], Any]:
    """Is each of these days complete, for many domains at once: the domains, and an array (domains, days).

    As `judge` of each domain alone; `arrivals` has a column `domain` as well.
    """
    import numpy as np
    import pandas as pd

    domain, domains = pd.factorize(arrivals["domain"], sort=True)
    who, names = pd.factorize(arrivals["submitter"])
    found = np.zeros((len(domains), last - first + 1), dtype=np.bool_)
    for start in range(0, len(domains), AT_ONCE):
        some = (domain >= start) & (domain < start + AT_ONCE)
        size = min(AT_ONCE, len(domains) - start)
        known = _Known(arrivals[some].assign(submitter=domain[some] * len(names) + who[some]),
                       first - HISTORY_DAYS, last)  # fmt: skip
        of = np.asarray(known.names, dtype=np.int64) // max(len(names), 1) - start
        for day in range(first, last + 1):
            one = known.judge(day, now)
            found[start : start + size, day - first] = _is_complete(one, _weights(one, of, size), of, size, now)
    return [str(name) for name in domains], found


def usual(arrivals: pd.DataFrame, first: int, last: int, now: int) -> pd.DataFrame:
    """Who is usual on each of these days, for many domains at once: domain, submitter, day, open (is it awaited?).

    As `judge` of each domain alone; a day that is not over is open, whoever has reported.
    """
    import numpy as np
    import pandas as pd

    domain, domains = pd.factorize(arrivals["domain"], sort=True)
    who, names = pd.factorize(arrivals["submitter"], sort=True)
    pair, pairs = pd.factorize(domain * len(names) + who, sort=True)
    parts = []
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        some = (pair >= start) & (pair < start + PAIRS_AT_ONCE)
        known = _Known(arrivals[some].assign(submitter=pairs[pair[some]]), first - HISTORY_DAYS, last)
        for day in range(first, last + 1):
            one = known.judge(day, now)
            still = (one.state == AWAITED) | (one.state == LATE) | (now < (day + 1) * DAY)
            place = np.asarray(known.names, dtype=np.int64)[one.usual]
            parts.append((place, np.full(len(place), day), still[one.usual]))
    places, days, still_open = (
        np.concatenate([np.zeros(0, dtype=kind), *(part[i] for part in parts)])
        for i, kind in enumerate((np.int64, np.int64, np.bool_))
    )
    return pd.DataFrame(
        {
            "domain": np.asarray(domains, dtype=object)[places // max(len(names), 1)],
            "submitter": np.asarray(names, dtype=object)[places % max(len(names), 1)],
            "day": days,
            "open": still_open,
        }
    )


class _Day(NamedTuple):
    """One judged day; all else is an array over the reporters."""

    day: int
    usual: Any
    expected: Any  # messages
    come: Any  # part of the usual number of reports, at most 1
    state: Any
    until: Any


class _Known:
    """Arrivals as tables of reporters by days, from the day `start` on."""

    def __init__(self, arrivals: pd.DataFrame, start: int, last: int) -> None:
        import numpy as np
        import pandas as pd

        self.start, size = start, last - start + 1
        rows = arrivals[(arrivals["day"] >= start) & (arrivals["day"] <= last)]
        found, self.names = pd.factorize(rows["submitter"], sort=True)
        self.code, self.place = np.asarray(found), rows["day"].to_numpy() - start
        self.hour, self.number = rows["hour"].to_numpy(), rows["reports"].to_numpy(dtype=float)
        self.reports, self.messages = (
            np.bincount(self.code * size + self.place, values, len(self.names) * size).reshape(-1, size)
            for values in (self.number, rows["messages"].to_numpy(dtype=float))
        )

    def judge(self, day: int, now: int) -> _Day:
        """The state of each reporter on one day."""
        import numpy as np

        at, end = day - self.start, (day + 1) * DAY
        before = slice(at - HISTORY_DAYS, at)
        seen = self.reports[:, before] > 0
        usual = seen.sum(axis=1) >= USUAL_DAYS
        come = np.minimum(1.0, self.reports[:, at] / np.maximum(_median(self.reports[:, before], seen), 1))
        arrived = (self.reports[:, at] > 0) & (~usual | (come >= USUAL_REPORTS))
        missing = usual & ~arrived
        state = np.full(len(self.names), UNUSUAL, dtype=object)
        state[arrived], state[missing] = ARRIVED, SILENT
        until = np.full(len(self.names), end)
        if now < end + MOST_WAIT and missing.any():  # else nobody is awaited any more, whatever the habits
            receipts = self._receipts(at)
            wait = waits(receipts)
            until = end + wait
            awaited = missing & (now < until) & ~self._stopped(seen, day, (now - wait) // DAY)
            state[awaited] = np.where(now < end + medians(receipts), AWAITED, LATE)[awaited]
        return _Day(day, usual, _median(self.messages[:, before], seen), np.where(arrived, 1.0, come), state, until)

    def _receipts(self, at: int) -> Any:
        """Reports of the days before, by reporter and hour of receipt."""
        import numpy as np

        known = (self.place >= at - HISTORY_DAYS) & (self.place < at) & (self.hour >= 0)
        places = self.code[known] * HOURS + self.hour[known]
        return np.bincount(places, self.number[known], len(self.names) * HOURS).reshape(-1, HOURS)

    def _stopped(self, seen: Any, day: int, over: Any) -> Any:
        """Who left out more days in a row before `day` than ever, though they are over: those before the day `over`."""
        import numpy as np

        days = np.arange(HISTORY_DAYS)
        newest = np.maximum.accumulate(np.where(seen, days, -1), axis=1)
        gaps = np.where(seen[:, 1:] & (newest[:, :-1] >= 0), days[1:] - newest[:, :-1] - 1, 0)
        missed = np.minimum(over - (day - HISTORY_DAYS), HISTORY_DAYS) - newest[:, -1] - 1
        return missed >= np.maximum(STOPPED_DAYS, gaps.max(axis=1) + 1)

    def told(self, one: _Day, now: int) -> tuple[Any, ...]:
        """A row of `Judged.days`."""
        import numpy as np

        together = np.zeros(len(self.names), dtype=np.int64)
        weight = _weights(one, together, 1)
        whole = float(weight.sum())
        complete = _is_complete(one, weight, together, 1, now)[0]
        share = float((weight * one.come).sum()) / whole if whole else float("nan")
        ranked = np.lexsort((np.arange(len(weight)), -weight))
        missing = ([str(self.names[i]) for i in ranked if one.state[i] == state] for state in (LATE, AWAITED, SILENT))
        arrived = int((one.usual & (one.state == ARRIVED)).sum())
        messages = int(self.messages[:, one.day - self.start].sum())
        return (_date(one.day), share, bool(complete), messages, int(one.usual.sum()), arrived, *missing)

    def listed(self, seen: Sequence[_Day]) -> pd.DataFrame:
        """The rows of `Judged.reporters`."""
        import numpy as np
        import pandas as pd

        at = [one.day - self.start for one in seen]
        usual, expected, state, until = (
            np.stack([getattr(one, name) for one in seen]) for name in ("usual", "expected", "state", "until")
        )
        counts, messages = self.reports[:, at].T, self.messages[:, at].T
        day, who = np.nonzero(usual | (counts > 0))
        state = state[day, who]
        until = until[day, who].astype("datetime64[s]")
        until[(state != AWAITED) & (state != LATE)] = np.datetime64("NaT")
        return pd.DataFrame(
            {
                "day": np.array([_date(one.day) for one in seen])[day],
                "submitter": np.asarray(self.names, dtype=object)[who],
                "messages": messages[day, who].astype("int64"),
                "reports": counts[day, who].astype("int64"),
                "usual": usual[day, who],
                "expected": expected[day, who],
                "state": state,
                "until": until,
            }
        )


def _weights(one: _Day, of: Any, groups: int) -> Any:
    """What each reporter weighs: its usual messages, but no more than all others of its group have together.

    `of` is the group of each; one that is alone weighs as it says.
    """
    import numpy as np

    weight = np.where(one.usual, np.maximum(one.expected, 1.0), 0.0)
    order = np.lexsort((weight, of))
    top = order[np.flatnonzero(np.diff(of[order], append=-1))]  # the heaviest of each group
    others = weight.copy()
    others[top] = 0.0
    most = np.bincount(of, others, groups)[of[top]]
    weight[top] = np.where(most > 0, np.minimum(weight[top], most), weight[top])
    return weight


def _is_complete(one: _Day, weight: Any, of: Any, groups: int, now: int) -> Any:
    """Is the day in, by group: is what may still come little, or after USUAL_WAIT that of one reporter alone?"""
    import numpy as np

    end = (one.day + 1) * DAY
    still_open = (one.state == AWAITED) | (one.state == LATE)
    awaited = np.where(still_open, weight * (1 - one.come), 0.0)
    whole, most = np.bincount(of, weight, groups), np.zeros(groups)
    np.maximum.at(most, of, awaited)
    waited = now >= end + USUAL_WAIT
    missing = np.bincount(of, awaited, groups) - most * waited
    return np.where(whole > 0, (now >= end) & (missing <= LEFT_OPEN * whole), waited)


def _date(day: int) -> Any:
    import numpy as np

    return np.datetime64(day, "D").astype("datetime64[s]")


def _median(values: Any, seen: Any) -> Any:
    """The median of each row's values where `seen`; 0 where nothing was."""
    import numpy as np

    number = seen.sum(axis=1)
    ranked = np.sort(np.where(seen, values, np.inf), axis=1)
    rows = np.arange(len(ranked))
    middle = (ranked[rows, np.maximum(number - 1, 0) // 2] + ranked[rows, number // 2 % values.shape[1]]) / 2
    return np.where(number > 0, middle, 0.0)


def through(days: pd.DataFrame) -> date | None:
    """The day up to which all of these are complete, from the first of them on; None when that one is not."""
    done = days["complete"].to_numpy(dtype=bool)
    upto = len(done) if done.all() else int(done.argmin())
    return days["day"].iloc[upto - 1].date() if upto else None
