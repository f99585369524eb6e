"""The real pair of the README: visible, thermal and fused, fused by the command line.

    python -m benchmarks.readme_images --data DATA

The pair is a frame of TNO's "NATO camp" sequence, published by A. Toet under CC BY 4.0 (TNO Image
Fusion Dataset, https://doi.org/10.6084/m9.figshare.1008029). No image of another data set may
stand in the repository.
"""

from __future__ import annotations

if not __package__:
    import shared.as_module  # noqa: F401
import tempfile
from pathlib import Path

import cv2

from benchmarks.shared.options import make_parser
from irvis_fusion_core.atomic_file import write_file
from irvis_fusion_core.commands import fuse
from irvis_fusion_core.image_files import read_thermal, read_visible
from irvis_fusion_core.image_sheet import caption_row

ROOT = Path(__file__).resolve().parents[1]
JPEG_QUALITY = 88


def make_sheet(ir: Path, vis: Path, model: str, output: Path, frame_width: int = 330) -> None:
    """Fuse a pair with `irvis_fusion fuse` and write visible, thermal and fused side by side.

    Args:
        ir: Thermal image, 8 bits, of the visible image's size.
        model: A shipped model or the path of an .onnx file.
        output: JPEG to write.
        frame_width: Pixels, of each of the three images.

    Raises:
        SystemExit: The command could not fuse the pair; it has said why.
    """
    with tempfile.TemporaryDirectory() as folder:
        fused = Path(folder) / "fused.png"
        arguments = ["--ir", str(ir), "--vis", str(vis), "--output", str(fused)]
        if fuse.main([*arguments, "--model", model, "--quiet"]):
            raise SystemExit(1)
        images = {
            "visible": cv2.cvtColor(read_visible(str(vis)), cv2.COLOR_BGR2RGB),
            "thermal": read_thermal(str(ir)),
            f"fused by {model}": cv2.cvtColor(read_visible(str(fused)), cv2.COLOR_BGR2RGB),
        }
    sheet = cv2.cvtColor(caption_row(images, frame_width), cv2.COLOR_RGB2BGR)
    done, jpeg = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise SystemExit(f"expected OpenCV to encode {output} as JPEG, found that it cannot")
    write_file(output, jpeg.tobytes())


def main() -> None:
    parser = make_parser(__doc__, "data")
    parser.add_argument("--frame", default="1828", help="frame of the sequence")
    parser.add_argument("--model", default="base", help="model to fuse with")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "tno_pair.jpg")
    options = parser.parse_args()
    folder = options.data / "video_tno_nato_camp"
    name = options.frame + ".bmp"
    make_sheet(folder / "IR" / name, folder / "VIS" / name, options.model, options.output)


if __name__ == "__main__":
    main()
