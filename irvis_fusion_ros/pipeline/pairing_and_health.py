"""Pairing and the health of the thermal camera, built from the parameters."""

from __future__ import annotations

from typing import Any, Union

from irvis_fusion_core.streams.health import IrHealth
from irvis_fusion_core.streams.pairing import PairingPolicy, make_pairing
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.message_filters_pairing import StockPairing

Policy = Union[PairingPolicy, StockPairing]


def policy_options(settings: Settings) -> dict[str, Any]:
    """Return what the pairing policy is built from."""
    pairing = settings.pairing
    return {
        "policy": pairing.pairing,
        "slop_s": pairing.slop_s,
        "max_ir_age_s": pairing.max_ir_age_s,
        "ir_time_offset_s": pairing.ir_time_offset_s,
        "depth": pairing.pairing_depth,
        "max_wait_s": pairing.max_wait_s,
    }


def make_policy(settings: Settings) -> Policy:
    """Build the pairing policy that the parameters name; raises ConfigurationError."""
    options = policy_options(settings)
    if options["policy"] == StockPairing.name:
        values = (options[name] for name in ("slop_s", "ir_time_offset_s", "depth", "max_wait_s"))
        return StockPairing(*values)
    return make_pairing(**options)


def make_health(settings: Settings) -> IrHealth:
    """Build the watch over the thermal camera; raises ConfigurationError."""
    loss = settings.ir_loss
    size = (loss.ir_height, loss.ir_width)
    return IrHealth(
        max_ir_age_s=settings.pairing.max_ir_age_s,
        frozen_after_s=loss.ir_frozen_after_s,
        expected_size=size if all(size) else None,
        ir_time_offset_s=settings.pairing.ir_time_offset_s,
        missing_after_s=loss.ir_missing_after_s,
    )
