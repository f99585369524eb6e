"""Make `python benchmarks/thermal.py` the same as `python -m benchmarks.thermal`.

Every script begins with the following; see `training._as_module`, which does the work::

    if not __package__:
        import shared.as_module  # noqa: F401
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

import training._as_module  # noqa: E402, F401
