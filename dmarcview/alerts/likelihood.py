"""Beta-binomial counts: how likely failures are when one cause hits many messages at once.

A share p with overdispersion rho is a Beta(p M, (1 - p) M) with M = 1 / rho - 1; rho is the correlation of two messages
of one cell. All functions take and give float64 arrays of one shape (or what broadcasts to it).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]


def log_gamma(x: Floats) -> Floats:
    """Logarithm of the gamma function for x > 0, to 1e-8: Stirling's series, four places further up."""
    z = x + 4.0
    inverse = 1.0 / z
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
    out: Floats = (z - 0.5) * np.log(z) - z + (0.9189385332046727 + series) - np.log(x * (x + 1) * (x + 2) * (x + 3))
    return out


def mass(rho: Floats) -> Floats:
    """M, the weight of the Beta that stands for an overdispersion of 0 < rho < 1."""
    return 1.0 / rho - 1.0


def log_likelihood(of: Ints, total: Floats, failed: Floats, share: Floats, weight: Floats) -> Floats:
    """Logarithm of the likelihood of cells, but for what does not depend on the share.

    `total` and `failed` have an entry a cell, and `of` its place in `share` and `weight` (the mass), which have one a
    series: so what is the same for all cells of a series is computed once.
    """
    a, b = share * weight, (1 - share) * weight
    out: Floats = log_gamma((total - failed) + b[of]) - log_gamma(b)[of]
    bad = np.flatnonzero(failed)  # most cells have no failure, and need no more than that
    out[bad] += log_gamma(failed[bad] + a[of[bad]]) - log_gamma(a)[of[bad]]
    return out


def log_binomial_tail(count: Floats, mean: Floats, spread: Floats) -> Floats:
    """Logarithm of the chance of `count` > 0 or more in a negative binomial of variance mean + spread * mean ** 2."""
    size = 1.0 / spread
    return log_beta_part(count, size, mean / (mean + size))


def log_beta_part(a: Floats, b: Floats, x: Floats) -> Floats:
    """Logarithm of the regularised incomplete beta function I_x(a, b), for 0 < x < 1, by its continued fraction."""
    low = x < (a + 1) / (a + b + 2)  # where the fraction converges fast; elsewhere the complement's does
    p, q, z = np.where(low, a, b), np.where(low, b, a), np.where(low, x, 1 - x)
    tiny = 1e-300
    c, d = np.ones_like(z), 1 / _not_zero(1 - (p + q) * z / (p + 1), tiny)
    fraction = d.copy()
    for n in range(1, 400):
        even = n * (q - n) * z / ((p + 2 * n - 1) * (p + 2 * n))
        d, c = 1 / _not_zero(1 + even * d, tiny), _not_zero(1 + even / c, tiny)
        fraction *= d * c
        odd = -(p + n) * (p + q + n) * z / ((p + 2 * n) * (p + 2 * n + 1))
        d, c = 1 / _not_zero(1 + odd * d, tiny), _not_zero(1 + odd / c, tiny)
        fraction *= d * c
        if not len(z) or float(np.abs(d * c - 1).max()) < 1e-10:
            break
    front = p * np.log(z) + q * np.log1p(-z) + log_gamma(p + q) - log_gamma(p) - log_gamma(q) - np.log(p)
    part = front + np.log(fraction)
    out: Floats = np.where(low, part, np.log1p(-np.minimum(np.exp(part), 1 - 1e-16)))
    return out


def _not_zero(x: Floats, tiny: float) -> Floats:
    return np.where(np.abs(x) < tiny, tiny, x)
