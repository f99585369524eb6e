"""The field's metrics of fused images and videos: see `table`."""

from irvis_fusion_core.metrics.table import *  # noqa: F403
from irvis_fusion_core.metrics.table import __all__ as __all__
