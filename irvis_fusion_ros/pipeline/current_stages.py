"""The stages as the parameters and the calibrations of the cameras are now.

A calibration that cannot be used never ends the node. The visible image flows, or the simpler
registration that `registration.fallback` names is used, and /diagnostics says why.
"""

from __future__ import annotations

from collections.abc import Callable

from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.flicker_limiter import FlickerLimiter
from irvis_fusion_core.protocols import Registration
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline import stages
from irvis_fusion_ros.pipeline.stages import NO_CAMERAS, CalibrationMissing, Cameras, Stages


class CurrentStages:
    """Holds the `Stages` in use. One thread exchanges them, another may read them.

    Attributes:
        stages: The stages in use.
    """

    def __init__(
        self,
        settings: Settings,
        cameras: Callable[[Settings], Cameras] = lambda settings: NO_CAMERAS,
        tell: Callable[[str, bool], None] = lambda text, is_problem: None,
        in_background: bool = True,
    ) -> None:
        """Build the stages.

        Args:
            settings: The parameters.
            cameras: Returns what is known of the cameras now, as these parameters see it.
            tell: Called with a text for the log when the registration in use changes.
            in_background: See `make_registration`.

        Raises:
            ConfigurationError: Thermal or registration parameters that do not go together.
        """
        self._settings = settings
        self._cameras = cameras
        self._tell = tell
        self._in_background = in_background
        self._told = ""
        limiter = FlickerLimiter() if settings.engine.limit_flicker else None
        registration, problem = self._registration(settings, refuse=False)
        self.stages = Stages(stages.make_thermal(settings), registration, limiter, problem)

    def renew(self, settings: Settings) -> None:
        """Build what other parameters change; all stays as it was when this raises.

        Raises:
            ConfigurationError, CalibrationError: The parameters cannot be used. A calibration
                that has not arrived yet is no error.
        """
        before = self._settings
        # A part that stays keeps its memory: thermal limits, online alignment, flicker.
        thermal, registration, limiter, problem = self.stages
        if settings.thermal != before.thermal:
            thermal = stages.make_thermal(settings)
        if settings.engine.limit_flicker != before.engine.limit_flicker:
            limiter = FlickerLimiter() if settings.engine.limit_flicker else None
        if settings.registration != before.registration:
            registration, problem = self._registration(settings, refuse=True)
        self._settings = settings
        self.stages = Stages(thermal, registration, limiter, problem)

    def renew_registration(self) -> None:
        """Build the registration again: a calibration has arrived or changed."""
        registration, problem = self._registration(self._settings, refuse=False)
        self.stages = self.stages._replace(registration=registration, problem=problem)

    def _registration(self, settings: Settings, refuse: bool) -> tuple[Registration | None, str]:
        """Return the registration asked for, or the fallback and why."""
        try:
            cameras = self._cameras(settings)
            asked_for = stages.make_registration(settings, cameras, self._in_background)
        except CalibrationError as error:
            if refuse and not isinstance(error, CalibrationMissing):
                raise
            self._tell_once(str(error), is_problem=True)
            return stages.fallback_registration(settings), str(error)
        self._tell_once(stages.describe_registration(asked_for), is_problem=False)
        return asked_for, ""

    def _tell_once(self, text: str, is_problem: bool) -> None:
        if text != self._told:
            self._tell("registration: " + text, is_problem)
        self._told = text
