"""Where the real images lie that some tests need; they are never part of this repository."""

import os
from pathlib import Path

import pytest

from irvis_fusion_core.image_files import pairs_in, read_thermal_8_bit, read_visible


def data_root() -> Path:
    """The folder of real data, or a skip that says how to provide it.

    IRVIS_FUSION_DATA names it; otherwise it is `shared/data` beside the repository.
    """
    named = os.environ.get("IRVIS_FUSION_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs real images; {folder} does not exist (set IRVIS_FUSION_DATA)")
    return folder


def real_pairs(folder):
    """Yield every pair of a folder of real data: stem, uint8 IR HxW, uint8 RGB HxWx3."""
    for pair in pairs_in(data_root() / folder):
        yield pair.stem, read_thermal_8_bit(pair.ir), read_visible(pair.vis)[..., ::-1].copy()
