"""Repairs of raw thermal frames: dead pixels and offsets of columns."""

import cv2
import numpy as np
import pytest

from irvis_fusion_core.thermal import ThermalRescale
from irvis_fusion_core.thermal.raw_frames import column_offsets, repair_dead_pixels


def test_dead_pixels_are_repaired_and_edges_are_not_touched():
    rng = np.random.default_rng(0)
    scene = cv2.GaussianBlur(rng.normal(0, 400, (96, 128)), (0, 0), 3) + 3000
    scene[30:60, 40:80] += 900
    scene = (scene + rng.normal(0, 3, scene.shape)).astype(np.float32)
    broken = scene.copy()
    dead = [(5, 7), (50, 60), (80, 100)]
    for row, column in dead:
        broken[row, column] = 9000
    repaired = repair_dead_pixels(broken)
    for row, column in dead:
        assert repaired[row, column] == pytest.approx(scene[row, column], abs=60)
    # The corners of the block look like dead pixels to any 3x3 rule; nothing else changes.
    assert (repaired != broken).mean() < 0.001


def test_column_offsets_are_found():
    rng = np.random.default_rng(0)
    scene = cv2.GaussianBlur(rng.normal(0, 400, (256, 320)), (0, 0), 12).astype(np.float32)
    stripes = rng.normal(0, 20, 320).astype(np.float32)
    found = column_offsets(scene + stripes)
    left = stripes - found
    assert np.diff(left).std() < 0.35 * np.diff(stripes).std()


def test_repairs_are_wired_into_the_rescaler():
    rng = np.random.default_rng(0)
    raw = np.linspace(3000, 5000, 128 * 160).reshape(128, 160) + rng.normal(0, 2, (128, 160))
    raw = (raw + rng.normal(0, 30, 160)).astype(np.uint16)
    raw[64, 80] = 9000
    plain = ThermalRescale()(raw).astype(float)
    repaired = ThermalRescale(dead_pixels=True, columns=True)(raw).astype(float)
    assert plain[64, 80] == 255 and repaired[64, 80] < 180
    assert np.diff(repaired[20:40], axis=1).std() < 0.5 * np.diff(plain[20:40], axis=1).std()
