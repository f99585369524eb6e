"""Make `python benchmarks/thermal.py` the same as `python -m benchmarks.thermal`.

Python puts a script's folder on the search path, not the repository's root, so a script cannot
import `benchmarks`. Every script begins with::

    if not __package__:
        import shared.as_module  # noqa: F401

This module then runs the script again, as a module of the package, and exits. Processes that the
script spawns find it under that name too.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_NAME = ".".join(Path(sys.argv[0]).resolve().relative_to(_ROOT).with_suffix("").parts)

sys.path[0] = str(_ROOT)
runpy.run_module(_NAME, run_name="__main__", alter_sys=True)
sys.exit()
