"""Pairing and the thermal camera's health, built from the parameters and exchanged while in use.

A parameter that changes renews what depends on it and nothing else: whoever tunes `slop_s` must
not make a frozen camera count as well again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Union

from irvis_fusion_core.streams.health import IrHealth
from irvis_fusion_core.streams.pairing import PairingPolicy, make_pairing
from irvis_fusion_ros.pipeline.message_filters_pairing import StockPairing

PAIRING_PARAMETERS = frozenset(
    ["pairing", "slop_s", "max_ir_age_s", "ir_time_offset_s", "pairing_depth", "max_wait_s"]
)
"""What `make_policy` reads."""

HEALTH_PARAMETERS = frozenset(
    [
        "max_ir_age_s",
        "ir_frozen_after_s",
        "ir_width",
        "ir_height",
        "ir_time_offset_s",
        "ir_missing_after_s",
    ]
)
"""What `make_health` reads."""

Policy = Union[PairingPolicy, StockPairing]


def make_policy(settings: Mapping[str, Any]) -> Policy:
    """Build the pairing policy that the parameters name; raises ConfigurationError."""
    if settings["pairing"] == StockPairing.name:
        return StockPairing(
            settings["slop_s"],
            settings["ir_time_offset_s"],
            settings["pairing_depth"],
            settings["max_wait_s"],
        )
    return make_pairing(
        settings["pairing"],
        slop_s=settings["slop_s"],
        max_ir_age_s=settings["max_ir_age_s"],
        ir_time_offset_s=settings["ir_time_offset_s"],
        depth=settings["pairing_depth"],
        max_wait_s=settings["max_wait_s"],
    )


def make_health(settings: Mapping[str, Any]) -> IrHealth:
    """Build the watch over the thermal camera; raises ConfigurationError."""
    height, width = settings["ir_height"], settings["ir_width"]
    return IrHealth(
        max_ir_age_s=settings["max_ir_age_s"],
        frozen_after_s=settings["ir_frozen_after_s"],
        expected_size=(height, width) if height and width else None,
        ir_time_offset_s=settings["ir_time_offset_s"],
        missing_after_s=settings["ir_missing_after_s"],
    )


def take_limits(present: IrHealth, fresh: IrHealth) -> None:
    """Give `present`, which keeps what it has seen, the limits of `fresh`.

    The time offset is none of them: with another one all ages are others, and `fresh` has to
    take the place of `present`.
    """
    present.max_ir_age_s = fresh.max_ir_age_s
    present.frozen_after_s = fresh.frozen_after_s
    present.missing_after_s = fresh.missing_after_s
    present.expected_size = fresh.expected_size
