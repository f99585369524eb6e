"""Inference engines: one file each, one protocol, see `Backend`.

    backend = open_backend("auto", model_path, BackendOptions(threads=2))
    fused = backend.fuse(ir, vis)      # uint8 HxWx1, uint8 HxWx3 -> uint8 HxWx3

Importing this package imports no engine: backends import theirs in `open` and `probe`.
"""

from irvis_fusion_core.backends.protocol import Availability, Backend, BackendOptions
from irvis_fusion_core.backends.selection import (
    backend_names,
    choose_backend,
    open_backend,
    probe_backends,
)

__all__ = [
    "Availability",
    "Backend",
    "BackendOptions",
    "backend_names",
    "choose_backend",
    "open_backend",
    "probe_backends",
]
