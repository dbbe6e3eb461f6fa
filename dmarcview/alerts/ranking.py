"""Which days of which series stand out most: a list to look through, never a page in the night.

Each (series, day) gets the chance of so many failures or more by its usual share and overdispersion (as `cusum` learned
them); Benjamini and Hochberg (1995) choose among all of them so that of those chosen a share `q` is expected to be
chance; the most failures beyond the usual come first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .likelihood import Bools, Floats, Ints, log_beta_part, log_gamma, mass

EXACT = 64  # messages up to which the chance is summed term by term


@dataclass(frozen=True, slots=True)
class Ranked:
    """One entry for each given: `chance` is a natural logarithm, `excess` failures beyond the usual share.

    `chosen` stands out among all given; `order` are the places of those, the largest excess first.
    """

    chance: Floats
    excess: Floats
    chosen: Bools
    order: Ints


def rank(total: Ints, failed: Ints, p0: Floats, rho: Floats, q: float = 0.05) -> Ranked:
    """Rank days: arrays of one length, of days whose reports are complete; raises ValueError for other lengths."""
    if not len(total) == len(failed) == len(p0) == len(rho):
        raise ValueError("the arrays of days are of several lengths")
    chance = log_tail(total.astype(np.float64), failed.astype(np.float64), p0, rho)
    chosen = false_discovery(chance, q)
    excess: Floats = failed - p0 * total
    order = np.flatnonzero(chosen)
    return Ranked(chance, excess, chosen, order[np.lexsort((order, -excess[order]))])


def false_discovery(chance: Floats, q: float) -> Bools:
    """Those that stand out by Benjamini and Hochberg at a false discovery rate of `q`; chances are logarithms."""
    order = np.argsort(chance, kind="stable")
    limits = np.log(q * np.arange(1, len(chance) + 1) / max(len(chance), 1))
    below = np.flatnonzero(chance[order] <= limits)
    out = np.zeros(len(chance), np.bool_)
    if len(below):
        out[order[: below[-1] + 1]] = True
    return out


def log_tail(total: Floats, failed: Floats, p: Floats, rho: Floats) -> Floats:
    """Logarithm of the chance of `failed` or more of `total`, at share `p` and overdispersion `rho` (beta-binomial).

    Above 64 messages a Beta of the same mean and variance stands for it, taken half a message lower.
    """
    out = np.zeros(len(total))
    few = np.flatnonzero((failed > 0) & (total <= EXACT))
    many = np.flatnonzero((failed > 0) & (total > EXACT))
    if len(few):
        out[few] = _summed(total[few], failed[few], p[few], mass(rho[few]))
    if len(many):
        n, share, spread = total[many], p[many], rho[many]
        weight = n / (1 + (n - 1) * spread) - 1
        above = np.minimum((failed[many] - 0.5) / n, 1 - 1e-12)
        out[many] = log_beta_part((1 - share) * weight, share * weight, 1 - above)
    return np.minimum(out, 0.0)


def _summed(total: Floats, failed: Floats, p: Floats, weight: Floats) -> Floats:
    """The same by its terms, for at most EXACT messages."""
    k = np.arange(EXACT + 1.0)[:, None]
    there = (k >= failed) & (k <= total)
    k = np.where(there, k, total)
    a, b = p * weight, (1 - p) * weight
    terms = (
        log_gamma(total + 1) - log_gamma(k + 1) - log_gamma(total - k + 1)
        + log_gamma(k + a) - log_gamma(a) + log_gamma(total - k + b) - log_gamma(b)
        + log_gamma(weight) - log_gamma(total + weight)
    )  # fmt: skip
    terms = np.where(there, terms, -np.inf)
    most = terms.max(axis=0)
    out: Floats = most + np.log(np.exp(terms - most).sum(axis=0))
    return out
