"""The settings of thermal rescaling."""

from __future__ import annotations

from dataclasses import dataclass

from irvis_fusion_core.errors import ConfigurationError

WINDOW_UNITS = ("counts", "celsius", "kelvin")
RAW_UNITS = ("auto", "counts", "centikelvin", "kelvin", "celsius")


@dataclass(frozen=True)
class ThermalOptions:
    """The settings of one `ThermalRescale`.

    Args:
        method: a name of `thermal.METHODS`.
        low_percent: shares of pixels that become black and white, 0..100.
        high_percent: See `low_percent`.
        smoothing_s: time constant of the limits, seconds; 0 rescales every frame alone.
        window_low: limits of method "window", in `window_unit`.
        window_high: See `window_low`.
        window_unit: "counts" (raw values as they come), "celsius" or "kelvin".
        raw_unit: unit of the raw values: "counts", "centikelvin", "kelvin", "celsius". "auto":
            integers are counts (centikelvin where the window is a temperature), floats are
            kelvin where the median of the first frame is above 150, else Celsius.
        invert: True for black-hot cameras; turns the result so that hot is white.
        clahe_clip: clip limit of CLAHE on the result, 0 for none (2 is usual). It adds local
            contrast, costs 1 ms and some steadiness.
        dead_pixels: repair single dead pixels.
        columns: remove fixed column noise.
        saturated: raw value from which a pixel counts as saturated; None is the maximum of the
            type (give 16383 for 14-bit cameras).
        fields: fields along each side for method "fieldwise", 2..16.

    Raises:
        ConfigurationError: a setting has an impossible value.
    """

    method: str = "percentile"
    low_percent: float = 0.5
    high_percent: float = 99.5
    smoothing_s: float = 2.0
    window_low: float | None = None
    window_high: float | None = None
    window_unit: str = "counts"
    raw_unit: str = "auto"
    invert: bool = False
    clahe_clip: float = 0.0
    dead_pixels: bool = False
    columns: bool = False
    saturated: float | None = None
    fields: int = 8

    def __post_init__(self) -> None:
        expect_one_of("window_unit", self.window_unit, WINDOW_UNITS)
        expect_one_of("raw_unit", self.raw_unit, RAW_UNITS)
        if not 0.0 <= self.low_percent < self.high_percent <= 100.0:
            raise ConfigurationError(
                "low_percent and high_percent must satisfy 0 <= low < high <= 100, found "
                f"{self.low_percent} and {self.high_percent}"
            )
        if not 0.0 <= self.smoothing_s < float("inf"):
            raise ConfigurationError(
                f"smoothing_s must be 0 or more seconds, found {self.smoothing_s}"
            )
        if self.clahe_clip < 0.0 or not 2 <= self.fields <= 16:
            found = f"{self.clahe_clip} and {self.fields}"
            raise ConfigurationError(f"clahe_clip must be >= 0 and fields 2..16, found {found}")


def expect_one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ConfigurationError, which names the choices, for any other value."""
    if value not in choices:
        raise ConfigurationError(f"{name} must be one of {', '.join(choices)}, found {value!r}")
