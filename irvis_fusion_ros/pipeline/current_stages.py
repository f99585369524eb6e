"""Thermal rescaling and registration as the parameters and the cameras' calibrations are now.

What cannot be used never ends the node: the visible image flows, or a simpler registration that
`registration.fallback` names, and /diagnostics says why.
"""

from __future__ import annotations

from typing import Any

from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_ros.node.reports.diagnostics import describe_registration
from irvis_fusion_ros.parameters.settings import LiveSettings
from irvis_fusion_ros.pipeline.stages import (
    NO_CAMERAS,
    CalibrationMissing,
    Stages,
    fallback_registration,
    make_registration,
    make_thermal,
)


class CurrentStages:
    """Holds the `Stages` in use. The executor's thread exchanges them, the worker's reads them."""

    def __init__(self, settings: LiveSettings, calibrations: Any | None = None) -> None:
        """Build them; `calibrations` (CameraCalibrations) knows the cameras, where there is one.

        Raises:
            ConfigurationError: the thermal or registration parameters do not go together.
        """
        self._settings = settings
        self._calibrations = calibrations
        self._built_from = settings.current
        self._told = ""
        self.stages = self._with_registration(make_thermal(settings.current.thermal), refuse=False)
        if calibrations is not None:
            calibrations.on_change = self.renew_registration

    def renew(self) -> None:
        """Build anew what the parameters have changed.

        Raises:
            ConfigurationError, CalibrationError: they cannot be used; all stays as it was. A
                calibration that has not arrived yet is no error: it is waited for.
        """
        stages = self.stages
        before, now = self._built_from, self._settings.current
        # Limits go on where only the registration changes, and what online alignment has found
        # where only the thermal part does.
        if now.thermal != before.thermal:
            stages = stages._replace(thermal=make_thermal(now.thermal))
        if now.registration != before.registration:
            stages = self._with_registration(stages.thermal, refuse=True)
        self.stages, self._built_from = stages, now
        if self._calibrations is not None:
            self._calibrations.follow()
            if stages.problem:
                self.renew_registration()  # what is missing is known better once it is looked for

    def renew_registration(self) -> None:
        """Build the registration anew: a calibration has arrived or changed."""
        self.stages = self._with_registration(self.stages.thermal, refuse=False)

    def _with_registration(self, thermal: Any, refuse: bool) -> Stages:
        """Return the stages with the registration asked for, or with the fallback and why."""
        calibrations = self._calibrations
        cameras = NO_CAMERAS if calibrations is None else calibrations.snapshot()
        problem = ""
        try:
            registration = make_registration(self._settings.current.registration, cameras)
        except CalibrationError as error:
            if refuse and not isinstance(error, CalibrationMissing):
                raise
            problem = str(error)
            registration = self._fallback()
        self._tell(registration, problem)
        return Stages(thermal, registration, problem)

    def _fallback(self) -> Any:
        try:
            return fallback_registration(self._settings.current.registration)
        except CalibrationError:
            return None  # its own homography cannot be used either: the visible image alone

    def _tell(self, registration: Any, problem: str) -> None:
        """Log once what is used: with a calibration also by how much it is off, at which depth."""
        text = problem or describe_registration(registration)
        if self._calibrations is not None and text != self._told:
            tell = self._calibrations.warn if problem else self._calibrations.log
            tell("registration: " + text)
        self._told = text
