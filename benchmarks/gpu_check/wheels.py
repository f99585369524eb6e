"""Collect the packages of the GPU check for a machine without internet: `make gpu-wheels`.

    python -m benchmarks.gpu_check.wheels collect gpu_wheels      # where there is internet
    python -m benchmarks.gpu_check.wheels join gpu_wheels         # on the other machine
    python -m pip install --no-index --find-links gpu_wheels torch tensorrt-rtx-cu13 ...

Files above 60 MB are split into parts, because not every way to a machine takes larger ones.
`join` puts them together again, checks their SHA-256, and deletes the parts.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.shared.options import make_parser
from irvis_fusion_core.atomic_file import replacing, write_file

PART_BYTES = 60_000_000
SUMS = "sums.json"
PACKAGES = (
    "torch",
    "tensorrt-rtx-cu13",
    "cuda-python",
    "numpy",
    "opencv-python-headless<5",
    "onnxruntime",
    "safetensors",
    "lightning",
    "torchmetrics",
    "matplotlib",
    "pyyaml",
    "pytest",
    "hypothesis",
)


def collect(folder: Path, packages: Sequence[str], options: Sequence[str]) -> None:
    """Download wheels with pip and split the large ones."""
    command = [sys.executable, "-m", "pip", "download", "--only-binary=:all:"]
    subprocess.run([*command, "--dest", str(folder), *options, *packages], check=True)
    split(folder)


def split(folder: Path, part_bytes: int = PART_BYTES) -> None:
    """Split every wheel above `part_bytes` into NAME.part00, NAME.part01 and so on."""
    sums = {}
    for path in sorted(folder.glob("*.whl")):
        if path.stat().st_size <= part_bytes:
            continue
        digest, number = hashlib.sha256(), 0
        with path.open("rb") as stream:
            while part := stream.read(part_bytes):
                digest.update(part)
                write_file(f"{path}.part{number:02d}", part)
                number += 1
        sums[path.name] = {"sha256": digest.hexdigest(), "parts": number}
        path.unlink()
    if sums:
        known = _read_sums(folder)
        write_file(str(folder / SUMS), json.dumps({**known, **sums}, indent=2) + "\n")


def join(folder: Path) -> list[str]:
    """Put split wheels together; return their names.

    Raises:
        ValueError: a part is missing, or the whole differs from what was split.
    """
    joined = []
    for name, told in _read_sums(folder).items():
        parts = [folder / f"{name}.part{number:02d}" for number in range(told["parts"])]
        if (folder / name).exists():
            continue
        missing = [part.name for part in parts if not part.exists()]
        if missing:
            raise ValueError(f"expected all parts of {name}, found no {', '.join(missing)}")
        digest = hashlib.sha256()
        with replacing(str(folder / name)) as target, open(target, "wb") as stream:
            for part in parts:
                data = part.read_bytes()
                digest.update(data)
                stream.write(data)
            if digest.hexdigest() != told["sha256"]:
                raise ValueError(f"expected {name} as it was split, found other bytes; copy again")
        for part in parts:
            part.unlink()
        joined.append(name)
    return joined


def _read_sums(folder: Path) -> dict[str, dict]:
    path = folder / SUMS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def main(arguments: Sequence[str] | None = None) -> int:
    """Collect or join; return the exit status."""
    parser = make_parser(__doc__)
    parser.add_argument("action", choices=("collect", "join"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--packages", nargs="+", default=PACKAGES)
    parser.add_argument("--python-version", help="of the other machine, such as 3.12")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.action == "collect":
        version = options.python_version
        collect(options.folder, options.packages, ["--python-version", version] if version else [])
        print(f"{len(list(options.folder.iterdir()))} files in {options.folder}")
        return 0
    try:
        print(f"joined {', '.join(join(options.folder)) or 'nothing: no file is split'}")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
