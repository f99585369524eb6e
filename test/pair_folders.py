"""Writes small folders of pairs for tests: smooth images, as photographs are, not noise."""

import cv2
import numpy as np


def smooth(number, height=64, width=64, channels=1):
    """uint8 image number N: a few soft blobs with a little sensor noise."""
    rng = np.random.default_rng(number)
    coarse = rng.uniform(0, 255, (6, 7, channels)).astype(np.float32)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    image = image.reshape(height, width, channels) + rng.normal(0, 2, (height, width, channels))
    image = image.clip(0, 255).round().astype(np.uint8)
    return image if channels > 1 else image[:, :, 0]


def write_pair_folder(folder, count=3, teacher=None, height=64, width=64):
    """Write IR/ and VIS/; `teacher(ir, vis_bgr)` gives the images of TEACHER_FUSED/."""
    for side in ("IR", "VIS", "TEACHER_FUSED")[: 3 if teacher else 2]:
        (folder / side).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        ir, vis = smooth(number, height, width), smooth(100 + number, height, width, 3)
        cv2.imwrite(str(folder / "IR" / f"p{number}.png"), ir)
        cv2.imwrite(str(folder / "VIS" / f"p{number}.png"), vis)
        if teacher:
            cv2.imwrite(str(folder / "TEACHER_FUSED" / f"p{number}.png"), teacher(ir, vis))
    return folder
