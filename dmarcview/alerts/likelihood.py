"""Beta-binomial counts: how likely failures are when one cause hits many messages at once.

A share p with overdispersion rho is a Beta(p M, (1 - p) M) with M = 1 / rho - 1; rho is the correlation of two messages
of one cell. All functions take and give float64 arrays of one shape (or what broadcasts to it).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]


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


def ratio(total: Floats, failed: Floats, null: Floats, other: Floats, weight: Floats) -> Floats:
    """Log likelihood ratio of share `other` against share `null` of cells with these counts, both of mass `weight`."""
    passed = total - failed
    a0, b0, a1, b1 = null * weight, (1 - null) * weight, other * weight, (1 - other) * weight
    out: Floats = log_gamma(passed + b1) - log_gamma(passed + b0) + log_gamma(b0) - log_gamma(b1)
    bad = failed > 0  # most cells have no failure, and need no more than that
    if bad.any():
        f, a0, a1 = failed[bad], a0[bad], a1[bad]
        out[bad] += log_gamma(f + a1) - log_gamma(f + a0) + log_gamma(a0) - log_gamma(a1)
    return out
