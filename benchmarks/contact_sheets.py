"""Contact sheets: every pair of a set beside what each fusion makes of it, to be looked at.

    python benchmarks/contact_sheets.py --data DIR --model nano small base --output out/sheets
        [--sets msrs/val roadscene/val] [--limit 20] [--width 320]

A set is a folder with IR/ and VIS/. Each sheet has a few rows: IR, visible, the pixel-wise
maximum with the visible colours, and each model as RealtimeFusion makes it on a robot. Look for
halos, a grey veil over day scenes, checkerboard, colour casts, crushed skies; people at night
must stand out and lettering stay readable.
"""

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Dict, List

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.beyond_maximum.people import in_colour
from benchmarks.reference_rows import default_data, read_pairs
from irvis_fusion_core import metrics
from irvis_fusion_core.fusion import RealtimeFusion
from training.evaluation.eval_report import sheet as side_by_side
from training.evaluation.eval_report import write_png

GAP_PX = 4


def row(name: str, images: Dict[str, np.ndarray], width: int) -> np.ndarray:
    """RGB strip: the images side by side, `width` pixels each, the first named by the pair.

    Args:
        images: uint8 HxW or HxWx3 RGB of one size, by label.
    """
    cells = {}
    for label, image in images.items():
        height = max(1, round(image.shape[0] * width / image.shape[1]))
        how = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_LINEAR
        caption = label if cells else f"{label}  {name}"
        cells[caption] = cv2.resize(image, (width, height), interpolation=how)
    return side_by_side(cells)


def write_sheets(folder: Path, name: str, rows: List[np.ndarray], each: int) -> List[Path]:
    """NAME_1.png and so on, `each` rows of one width a sheet, below each other.

    Raises:
        StorageError: a sheet cannot be written.
    """
    written = []
    for number, first in enumerate(range(0, len(rows), each), 1):
        path = folder / f"{name}_{number}.png"
        shown = [
            cv2.copyMakeBorder(strip, 0, GAP_PX, 0, 0, cv2.BORDER_CONSTANT, value=(255,) * 3)
            for strip in rows[first : first + each]
        ]
        write_png(path, np.vstack(shown))
        written.append(path)
    return written


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=default_data())
    parser.add_argument("--sets", nargs="+", default=["msrs/val", "roadscene/val"])
    parser.add_argument("--model", nargs="+", default=["nano", "small", "base"])
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--limit", type=int, help="pairs of each set (default: all)")
    parser.add_argument("--width", type=int, default=320, help="of each image, pixels")
    parser.add_argument("--rows", type=int, default=4, help="pairs a sheet")
    parser.add_argument("--output", type=Path, default=Path("out/sheets"))
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        models = {
            Path(name).stem: stack.enter_context(
                RealtimeFusion(name, backend=options.backend, threads=1)
            )
            for name in options.model
        }
        for name in options.sets:
            rows = []
            for file, ir, vis in read_pairs(options.data / name, options.limit):
                maximum = in_colour("maximum", np.maximum(ir, metrics.luminance(vis)), vis)
                images = {"IR": ir, "visible": vis, "maximum": maximum}
                for label, fusion in models.items():
                    images[label] = fusion.fuse_frame(ir, vis, order="rgb")
                rows.append(row(file, images, options.width))
            for path in write_sheets(options.output, name.replace("/", "_"), rows, options.rows):
                print(f"written {path}")


if __name__ == "__main__":
    main()
