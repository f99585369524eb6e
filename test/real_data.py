"""Where the real images lie that some tests need; they are never part of this repository."""

import os
from pathlib import Path

import pytest


def data_root() -> Path:
    """The folder of real data, or a skip that says how to provide it.

    IRVIS_FUSION_DATA names it; otherwise it is `shared/data` beside the repository.
    """
    named = os.environ.get("IRVIS_FUSION_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs real images; {folder} does not exist (set IRVIS_FUSION_DATA)")
    return folder
