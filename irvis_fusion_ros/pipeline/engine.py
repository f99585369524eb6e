"""Opens the engine that the parameters name."""

from __future__ import annotations

from collections.abc import Callable

from irvis_fusion_core.fusion import RealtimeFusion
from irvis_fusion_core.protocols import Engine
from irvis_fusion_ros.parameters.settings import Settings


def open_fusion(settings: Settings, progress: Callable[[str], None]) -> Engine:
    """Open the engine; it may build for minutes on its first run and reports to `progress`.

    Raises:
        FusionError: The engine or its model cannot be opened.
    """

    def given(value: str) -> str | None:
        return None if value in ("auto", "") else value

    engine = settings.engine
    return RealtimeFusion(
        model=engine.model,
        backend=engine.backend,
        thermal=None,  # `ThermalOnce` has rescaled the frames
        precision=given(engine.precision),
        device=given(engine.device),
        threads=engine.threads,
        cache_dir=given(engine.engine_cache_dir),
        progress=progress,
    )
