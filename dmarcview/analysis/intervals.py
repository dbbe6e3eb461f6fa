"""Honest intervals of shares: mails of one day share their fate, so a hundred of them are not a hundred witnesses."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dmarcview.reconcile import wilson


class Share(NamedTuple):
    """A share 0..1 with its 95 % interval; `effect` says how many mails weigh as one."""

    share: float
    low: float
    high: float
    effect: float


def by_cell(part: Any, whole: Any) -> Share:
    """The share of sums over cells (days, or days and reporters), by Wilson's score on the messages that count singly.

    The effect is the variance of the cells' shares over that of independent mails (the ratio estimator of cluster
    samples), never below 1. One cell alone tells no variance: then it is 1. NaN and 0..1 when nothing was counted.
    """
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    part, whole = part[whole > 0], whole[whole > 0]
    total, cells = whole.sum(), len(whole)
    if not total:
        return Share(float("nan"), 0.0, 1.0, 1.0)
    share, effect = part.sum() / total, 1.0
    if cells > 1 and 0 < share < 1:
        spread = ((part - share * whole) ** 2).sum() * cells / (cells - 1)
        effect = max(1.0, spread / (total * share * (1 - share)))
    low, high = wilson(part.sum() / effect, total / effect)
    return Share(float(share), float(low), float(high), float(effect))


def shares(frame: pd.DataFrame, by: list[str], part: str, whole: str = "count", cell: str = "day") -> pd.DataFrame:
    """`by_cell` of each group of a frame: the group's columns, messages, part, share, low, high, effect; largest first.

    `part` and `whole` are columns of counts; messages are summed over `cell` before they are weighed.
    """
    cells = frame.groupby([*by, cell], dropna=False, sort=False)[[part, whole]].sum().reset_index()
    rows = [
        (*(key if isinstance(key, tuple) else (key,)), int(one[whole].sum()), int(one[part].sum()),
         *by_cell(one[part], one[whole]))
        for key, one in cells.groupby(by if len(by) > 1 else by[0], dropna=False, sort=False)
    ]  # fmt: skip
    out = pd.DataFrame(rows, columns=[*by, "messages", "part", *Share._fields])
    return out.sort_values(["messages", *by], ascending=[False, *[True] * len(by)], ignore_index=True)
