"""The real node with an engine file that is really built, by TensorRT for RTX, into the cache.

Its builder needs no GPU, its runtime does: so `warm_up` loads or builds the engine of the model
as on a robot, on the worker's thread, and what fuses then is the reference, max(ir, vis).
"""

import sys

from node_with_reference_fusion import ReferenceFusion

from irvis_fusion_core.backends import BackendOptions
from irvis_fusion_core.backends.engine_builder import build_engine
from irvis_fusion_ros.node.fusion_node import main


class BuiltFusion(ReferenceFusion):
    """The reference behind an engine file."""

    def __init__(self, settings, progress):
        """Remember what to build."""
        super().__init__(settings)
        self._settings = settings
        self._progress = progress

    def warm_up(self, height, width):
        """Find the engine of this size, or build it."""
        built = build_engine(
            self._settings.engine.model,
            height,
            width,
            BackendOptions(cache_dir=self._settings.engine.engine_cache_dir),
            self._progress,
            engine="tensorrt_rtx",
            compute_capability=(8, 6),
        )
        self._progress(f"engine {'built' if built.built else 'found'}: {built.reason}")


if __name__ == "__main__":
    sys.exit(main(None, BuiltFusion))
