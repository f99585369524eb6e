"""Writes small folders of pairs for tests: smooth pictures, as photographs are, not noise."""

import cv2
import numpy as np


def smooth(number, height=64, width=64, channels=1):
    """uint8 picture number N: a few soft blobs with a little sensor noise."""
    rng = np.random.default_rng(number)
    coarse = rng.uniform(0, 255, (6, 7, channels)).astype(np.float32)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    picture = picture.reshape(height, width, channels) + rng.normal(
        0, 2, (height, width, channels)
    )
    picture = picture.clip(0, 255).round().astype(np.uint8)
    return picture if channels > 1 else picture[:, :, 0]


def write_pair_folder(folder, count=3, teacher=None, height=64, width=64):
    """Write IR/ and VIS/; `teacher(ir, vis_bgr)` gives the pictures of TEACHER_FUSED/."""
    for side in ("IR", "VIS", "TEACHER_FUSED")[: 3 if teacher else 2]:
        (folder / side).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        ir, vis = smooth(number, height, width), smooth(100 + number, height, width, 3)
        cv2.imwrite(str(folder / "IR" / f"p{number}.png"), ir)
        cv2.imwrite(str(folder / "VIS" / f"p{number}.png"), vis)
        if teacher:
            cv2.imwrite(str(folder / "TEACHER_FUSED" / f"p{number}.png"), teacher(ir, vis))
    return folder
