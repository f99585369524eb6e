"""Pairing and the thermal camera's health, built from the parameters and exchanged while in use.

A parameter that changes renews what depends on it and nothing else: whoever tunes `slop_s` must
not make a frozen camera count as well again.
"""

from __future__ import annotations

from typing import Any, Union

from irvis_fusion_core.streams.health import IrHealth
from irvis_fusion_core.streams.pairing import PairingPolicy, make_pairing
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.message_filters_pairing import StockPairing

Policy = Union[PairingPolicy, StockPairing]


def policy_values(settings: Settings) -> dict[str, Any]:
    """Return the values that the pairing policy is built from."""
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
    values = policy_values(settings)
    if values["policy"] == StockPairing.name:
        return StockPairing(
            values["slop_s"], values["ir_time_offset_s"], values["depth"], values["max_wait_s"]
        )
    return make_pairing(**values)


def health_values(settings: Settings) -> dict[str, Any]:
    """Return the values that the check of the thermal camera is built from."""
    loss = settings.ir_loss
    return {
        "max_ir_age_s": settings.pairing.max_ir_age_s,
        "frozen_after_s": loss.ir_frozen_after_s,
        "expected_size": (loss.ir_height, loss.ir_width)
        if loss.ir_height and loss.ir_width
        else None,
        "ir_time_offset_s": settings.pairing.ir_time_offset_s,
        "missing_after_s": loss.ir_missing_after_s,
    }


def make_health(settings: Settings) -> IrHealth:
    """Build the check of the thermal camera; raises ConfigurationError."""
    return IrHealth(**health_values(settings))


def take_limits(present: IrHealth, fresh: IrHealth) -> None:
    """Give `present`, which keeps what it has seen, the limits of `fresh`.

    The time offset is none of them: with another one all ages are others, and `fresh` has to
    take the place of `present`.
    """
    present.max_ir_age_s = fresh.max_ir_age_s
    present.frozen_after_s = fresh.frozen_after_s
    present.missing_after_s = fresh.missing_after_s
    present.expected_size = fresh.expected_size
