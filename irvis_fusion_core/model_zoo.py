"""The models that ship: names, files and checksums.

`models/` holds `<variant>_<precision>.onnx`, `<variant>.safetensors`, the model cards, and
`checksums.json`, which names every file that belongs there with its SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import os

from irvis_fusion_core.atomic_file import write_file
from irvis_fusion_core.backends.model_file import PRECISIONS, WEIGHTS
from irvis_fusion_core.bounded_file import parse_json_object
from irvis_fusion_core.errors import ConfigurationError, ModelError, expect_one_of

MODELS_DIR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models")
VARIANTS = ("nano", "small", "base")
CHECKSUMS = "checksums.json"
REGISTRATION = "registration_fp32.onnx"


def list_models(folder: str | None = None) -> list[str]:
    """Return the variants that ship, smallest first."""
    files = _checksums(folder or MODELS_DIR)
    return [v for v in VARIANTS if any(_onnx_name(v, p) in files for p in PRECISIONS)]


def precisions(name: str, folder: str | None = None) -> list[str]:
    """Return the precisions for which a variant ships an ONNX file; raises as `path`."""
    _check_variant(name)
    files = _checksums(folder or MODELS_DIR)
    return [p for p in PRECISIONS if _onnx_name(name, p) in files]


def path(name: str, precision: str = "fp32", folder: str | None = None) -> str:
    """Return the path of a shipped ONNX file, or of the user's own.

    Args:
        name: nano, small or base; or the path of a model file, which is checked to exist.
        precision: fp32, fp16 or int8, for shipped models only.

    Raises:
        ConfigurationError: an unknown variant or precision.
        ModelError: the file is missing, truncated or changed.
    """
    if is_path(name):
        if not os.path.isfile(name):
            raise ModelError(
                f"expected a model at {name!r}, found no such file; we ship {', '.join(VARIANTS)}"
            )
        return os.fspath(name)
    _check_variant(name)
    expect_one_of("precision", precision, PRECISIONS)
    return _verified(_onnx_name(name, precision), folder or MODELS_DIR)


def weights_path(name: str, folder: str | None = None) -> str:
    """Return the path of a shipped safetensors file, to fine-tune or export; raises as `path`."""
    _check_variant(name)
    return _verified(name + ".safetensors", folder or MODELS_DIR)


def registration_path(folder: str | None = None) -> str:
    """Return the path of the shipped network of the learned registration; raises as `path`."""
    return _verified(REGISTRATION, folder or MODELS_DIR)


def is_path(name: str) -> bool:
    """Return whether `name` is a file and not a shipped variant."""
    name = os.fspath(name)
    return os.sep in name or name.endswith((".onnx", *WEIGHTS))


def write_checksums(folder: str | None = None) -> str:
    """Record the SHA-256 of every model file in the folder; return the path of the record."""
    folder = folder or MODELS_DIR
    names = sorted(n for n in os.listdir(folder) if n.endswith((".onnx", ".safetensors")))
    record = {name: sha256_of(os.path.join(folder, name)) for name in names}
    target = os.path.join(folder, CHECKSUMS)
    write_file(target, json.dumps(record, indent=2, sort_keys=True) + "\n")
    return target


def _onnx_name(variant: str, precision: str) -> str:
    return f"{variant}_{precision}.onnx"


def _check_variant(name: str) -> None:
    if name not in VARIANTS:
        raise ConfigurationError(
            f"expected a model ({', '.join(VARIANTS)}, or an .onnx file), found {name!r}"
        )


def _checksums(folder: str) -> dict[str, str]:
    target = os.path.join(folder, CHECKSUMS)
    try:
        with open(target) as stream:
            return parse_json_object(stream.read())
    except (OSError, ValueError) as error:
        raise ModelError(
            f"expected the list of shipped models in {target}, found: {error}; install the "
            "package again, or give the path of a model"
        ) from error


# (path, mtime, size) of files that this process has verified.
_whole: set[tuple[str, int, int]] = set()


def _verified(file_name: str, folder: str) -> str:
    """Return the path of a shipped file after checking its bytes."""
    record = _checksums(folder)
    wanted = record.get(file_name)
    target = os.path.join(folder, file_name)
    if wanted is None:
        raise ModelError(
            f"expected {file_name} among the shipped models, found "
            f"{', '.join(sorted(record)) or 'none'}; choose one of these or export it"
        )
    try:
        status = os.stat(target)
    except OSError as error:
        raise ModelError(
            f"expected the shipped model {target}, found: {error}; install the package again"
        ) from error
    identity = target, status.st_mtime_ns, status.st_size
    if identity not in _whole:
        found = sha256_of(target)
        if found != wanted:
            raise ModelError(
                f"expected {target} to have the SHA-256 {wanted[:12]}…, found {found[:12]}… in "
                f"{status.st_size} bytes: it is truncated, changed, or a Git LFS pointer; install "
                "the package again, or give your own model by its path outside the package"
            )
        _whole.add(identity)
    return target


def sha256_of(file_path: str) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open(file_path, "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()


if __name__ == "__main__":
    print(write_checksums())
