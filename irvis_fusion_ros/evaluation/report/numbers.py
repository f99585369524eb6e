"""Numbers as the report writes them."""

from __future__ import annotations

import math


def number(value: float) -> str:
    """Return a number with three significant digits, without an exponent from 0.001 to 99999."""
    if not math.isfinite(value):
        return "∞" if value == math.inf else "−∞" if value == -math.inf else "–"
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e5:
        return f"{value:.2g}".replace("-", "−")
    digits = min(max(2 - math.floor(math.log10(abs(value))), 0), 4)
    return f"{value:.{digits}f}".replace("-", "−")


def percent(part: float, whole: float) -> str:
    """Return a share; "100 %" and "0 %" only where it is exactly that."""
    if not whole:
        return "–"
    share = 100.0 * part / whole
    if part in (0, whole):
        return f"{share:.0f} %"
    if share > 99.9:
        return "> 99.9 %"
    return "< 0.1 %" if share < 0.1 else f"{share:.1f} %"
