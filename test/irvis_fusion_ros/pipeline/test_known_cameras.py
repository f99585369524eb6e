"""Chains of /tf_static against products of 4x4 matrices."""

import types

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from message_builders import link

from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_ros.pipeline.known_cameras import StaticTransforms


def tree(*links):
    known = StaticTransforms()
    known.add(types.SimpleNamespace(transforms=list(links)))
    return known


def matrix(translation, rotation):
    found = np.eye(4)
    found[:3, :3] = cv2.Rodrigues(np.array(rotation, float))[0]
    found[:3, 3] = translation
    return found


vectors = st.tuples(*[st.floats(-2.0, 2.0)] * 3)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(vectors, vectors), min_size=3, max_size=3))
def test_a_chain_over_a_common_root_is_the_product_of_its_links(parts):
    (t1, r1), (t2, r2), (t3, r3) = parts
    known = tree(
        link("base", "mount", t1, r1), link("mount", "ir", t2, r2), link("/base", "vis", t3, r3)
    )
    expected = np.linalg.inv(matrix(t3, r3)) @ matrix(t1, r1) @ matrix(t2, r2)
    rotation, translation = known.between("vis", "ir")
    assert rotation == pytest.approx(expected[:3, :3], abs=1e-9)
    assert translation == pytest.approx(expected[:3, 3], abs=1e-9)
    back = known.between("ir", "vis")
    assert back.rotation @ rotation == pytest.approx(np.eye(3), abs=1e-9)


def test_an_infrared_camera_to_the_right_has_its_points_to_the_right():
    extrinsics = tree(link("vis", "ir", (0.1, 0.0, 0.0))).between("vis", "ir")
    assert extrinsics.translation_m == pytest.approx([0.1, 0.0, 0.0])


def test_a_newer_message_replaces_a_link():
    known = tree(link("vis", "ir", (0.1, 0.0, 0.0)))
    known.add(types.SimpleNamespace(transforms=[link("vis", "ir", (0.2, 0.0, 0.0))]))
    assert known.between("vis", "ir").translation_m[0] == 0.2


def test_frames_that_are_not_connected_are_refused_with_what_is_known():
    with pytest.raises(CalibrationError, match="none"):
        StaticTransforms().between("vis", "ir")
    with pytest.raises(CalibrationError, match="lidar"):
        tree(link("base", "vis"), link("other", "lidar")).between("vis", "lidar")


def test_a_loop_is_refused():
    with pytest.raises(CalibrationError, match="loop"):
        tree(link("a", "b"), link("b", "a")).between("a", "b")


def test_a_rotation_of_zeros_is_refused():
    bad = link("vis", "ir")
    bad.transform.rotation.w = 0.0
    with pytest.raises(CalibrationError, match="quaternion"):
        tree(bad)
