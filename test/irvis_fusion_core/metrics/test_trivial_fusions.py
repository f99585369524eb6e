"""The trivial fusions against exact arithmetic over all pairs of grey levels."""

from fractions import Fraction
from math import floor

import numpy as np

from irvis_fusion_core.metrics.trivial_fusions import TRIVIAL_FUSIONS


def test_all_pairs_of_grey_levels_give_what_the_names_say():
    ir, luma = (plane.astype(np.uint8) for plane in np.mgrid[:256, :256])
    fused = {name: fuse(ir, luma) for name, fuse in TRIVIAL_FUSIONS.items()}
    assert all(plane.dtype == np.uint8 for plane in fused.values())
    for a, b in ((0, 0), (0, 1), (1, 2), (3, 200), (254, 255), (255, 255)):
        assert fused["maximum"][a, b] == max(a, b)
        assert fused["mean"][a, b] == floor(Fraction(a + b, 2) + Fraction(1, 2))
        assert (fused["IR"][a, b], fused["visible"][a, b]) == (a, b)
