"""Calibrations of public reports, named after the rows of the table of cases."""

import types

import numpy as np
import pytest

from irvis_fusion_core.registration import CalibratedRegistration
from irvis_fusion_core.registration.camera_model import camera_from_info


def test_b30_k_of_a_binned_image_with_the_full_size_is_taken_as_that_of_the_binned_one():
    nothing = types.SimpleNamespace(x_offset=0, y_offset=0, height=0, width=0)
    info = types.SimpleNamespace(
        width=2064,
        height=1544,
        k=[299.5, 0, 254.1, 0, 300.1, 183.9, 0, 0, 1],
        d=[-0.09, 0.08, 0, 0, 0],
        distortion_model="plumb_bob",
        binning_x=4,
        binning_y=4,
        roi=nothing,
        header=types.SimpleNamespace(frame_id="cam"),
    )
    camera = camera_from_info(info, "vis").for_size("vis", (386, 516))
    np.testing.assert_allclose(camera.matrix, np.reshape(info.k, (3, 3)))
    # K of the whole image, as the message's definition has it, gives the same.
    info.k = [1198.0, 0, 1016.4 + 1.5, 0, 1200.4, 735.6 + 1.5, 0, 0, 1]
    again = camera_from_info(info, "vis").for_size("vis", (386, 516))
    np.testing.assert_allclose(again.matrix, camera.matrix, atol=1e-9)


@pytest.mark.parametrize("folding", ["ir", "vis"])
def test_b32_the_field_of_view_of_an_equidistant_lens_ends_where_its_polynomial_turns(folding):
    size = (1200, 1920)
    matrix = [1133.1, 4.26, 960.7, 0, 1128.0, 600.8, 0, 0, 1]
    wide = [500.0, 0, 960, 0, 500, 600, 0, 0, 1]
    k = np.array([-1.152516, 2.913204, -2.482336, 0.178503])
    angles = np.linspace(0.0, np.pi / 2, 20001)
    reach = angles * (1 + sum(c * angles ** (2 * n + 2) for n, c in enumerate(k)))
    turn = angles[np.argmax(np.diff(reach) < 0)]
    lens = {f"{folding}_distortion": k, f"{folding}_lens": "equidistant"}
    matrices = (matrix, wide) if folding == "ir" else (wide, matrix)
    registration = CalibratedRegistration(
        *matrices, np.eye(3), [0, 0, 0], 10.0, size, size, **lens
    )
    columns = np.arange(960.0, 1920.0, 4.0)[None]
    x, _, seen = registration.ir_points(size, size, columns, np.full_like(columns, 600.0))
    last = int(seen[0].sum())
    # Seen up to one place, and from left to right: no mirrored image.
    assert seen[0, :last].all() and not seen[0, last:].any()
    assert (np.diff(x[seen]) > 0).all()
    if folding == "ir":
        expected = 960 + 500 * np.tan(turn)
        assert columns[0, last - 1] == pytest.approx(expected, rel=0.02)
    else:
        assert columns[0, last - 1] <= 960.7 + 1133.1 * reach.max()
