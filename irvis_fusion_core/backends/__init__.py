"""One file an engine, one small protocol.

A backend is a class with this shape (see `Backend` for the contract)::

    backend = open_backend("auto", model_path, BackendOptions(threads=2))
    fused = backend.fuse(ir, vis)      # uint8 HxWx1, uint8 HxWx3 -> uint8 HxWx3
    backend.describe()
    backend.close()

Importing this package imports no engine: each backend module imports its own when `open` or
`probe` is called.
"""

from __future__ import annotations

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
