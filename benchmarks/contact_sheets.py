"""Contact sheets: every pair of a set with its fused images.

    python benchmarks/contact_sheets.py --data DIR --model nano small base --output out/sheets
        [--sets msrs/val roadscene/val] [--limit 20] [--width 320]

A set is a folder with IR/ and VIS/. Each sheet has a few rows: IR, visible, the pixel-wise
maximum with the visible colours, and each model as RealtimeFusion makes it on a robot. Look for
halos, a grey veil over day scenes, checkerboard, colour casts and crushed skies; people at night
must stand out and lettering stay readable.
"""

from __future__ import annotations

if not __package__:
    import shared.as_module  # noqa: F401
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.shared.fusions import has_images, in_colour, open_fusions, open_images
from benchmarks.shared.options import SHIPPED, make_parser
from benchmarks.shared.pairs import read_pairs
from irvis_fusion_core.image_files import write_image
from irvis_fusion_core.image_sheet import caption_row, stack_rows


def write_sheets(folder: Path, name: str, rows: Sequence[np.ndarray], each: int) -> list[Path]:
    """Write NAME_1.png and so on, `each` RGB rows a sheet; return the paths."""
    written = []
    for number, first in enumerate(range(0, len(rows), each), 1):
        written.append(folder / f"{name}_{number}.png")
        write_image(str(written[-1]), stack_rows(rows[first : first + each])[..., ::-1])
    return written


def main(arguments: Sequence[str] | None = None) -> None:
    shared = "data sets model images backend threads limit"
    parser = make_parser(__doc__, shared, model=SHIPPED, threads=1)
    parser.add_argument("--width", type=int, default=320, help="of each image, pixels")
    parser.add_argument("--rows", type=int, default=4, help="pairs a sheet")
    parser.add_argument("--output", type=Path, default=Path("out/sheets"))
    options = parser.parse_args(arguments)
    with open_fusions(options) as models:
        made = open_images(options)
        for name in options.sets:
            rows = []
            for pair in read_pairs(options.data, name, options.limit):
                if not has_images(pair, made):
                    continue
                maximum = in_colour("maximum", np.maximum(pair.ir, pair.luma), pair.vis)
                stem = pair.name.rpartition("/")[2]
                images = {f"IR  {stem}": pair.ir, "visible": pair.vis, "maximum": maximum}
                images.update({row: fuse(pair) for row, fuse in {**models, **made}.items()})
                rows.append(caption_row(images, options.width))
            for path in write_sheets(options.output, name.replace("/", "_"), rows, options.rows):
                print(f"written {path}")


if __name__ == "__main__":
    main()
