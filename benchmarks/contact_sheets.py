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

GAP_PX = 4
TITLE_PX = 18


def row(name: str, pictures: Dict[str, np.ndarray], width: int) -> np.ndarray:
    """RGB strip: the pictures side by side, `width` pixels each, labelled, under the pair's name.

    Args:
        pictures: uint8 HxW or HxWx3 RGB of one size, by label.
    """
    cells: List[np.ndarray] = []
    for label, picture in pictures.items():
        height = max(1, round(picture.shape[0] * width / picture.shape[1]))
        how = cv2.INTER_AREA if width < picture.shape[1] else cv2.INTER_LINEAR
        cell = cv2.resize(picture, (width, height), interpolation=how)
        cell = np.dstack([cell] * 3) if cell.ndim == 2 else cell.copy()
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 0), 1)):
            cv2.putText(
                cell,
                label,
                (4, 14),
                cv2.FONT_HERSHEY_SIMPLEX,
                0.45,
                colour,
                thickness,
                cv2.LINE_AA,
            )
        cells += [cell, np.full((height, GAP_PX, 3), 255, np.uint8)]
    strip = np.hstack(cells[:-1])
    title = np.full((TITLE_PX, strip.shape[1], 3), 40, np.uint8)
    cv2.putText(title, name, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255,) * 3, 1, cv2.LINE_AA)
    return np.vstack([title, strip])


def sheet(rows: List[np.ndarray]) -> np.ndarray:
    """Rows of any widths below each other, the narrower ones filled up with white."""
    width = max(each.shape[1] for each in rows)
    return np.vstack(
        [
            cv2.copyMakeBorder(
                each, 0, GAP_PX, 0, width - each.shape[1], cv2.BORDER_CONSTANT, value=(255,) * 3
            )
            for each in rows
        ]
    )


def write_sheets(folder: Path, name: str, rows: List[np.ndarray], each: int) -> List[Path]:
    """NAME_1.jpg and so on, `each` rows a sheet.

    Raises:
        SystemExit: a sheet cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, first in enumerate(range(0, len(rows), each), 1):
        path = folder / f"{name}_{number}.jpg"
        picture = np.ascontiguousarray(sheet(rows[first : first + each])[..., ::-1])
        if not cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 92]):
            raise SystemExit(f"{path} cannot be written")
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
    parser.add_argument("--width", type=int, default=320, help="of each picture, pixels")
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
                pictures = {"IR": ir, "visible": vis, "maximum": maximum}
                for label, fusion in models.items():
                    pictures[label] = fusion.fuse_frame(ir, vis, order="rgb")
                rows.append(row(f"{name}/{file}", pictures, options.width))
            for path in write_sheets(options.output, name.replace("/", "_"), rows, options.rows):
                print(f"written {path}")


if __name__ == "__main__":
    main()
