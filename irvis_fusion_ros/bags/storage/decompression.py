"""Decompress zstd and lz4 within limits: a few bytes of a recording may stand for gigabytes.

A chunk or a message has at most `LARGEST_BYTES`. A compressed storage file becomes at most
`LARGEST_FILE_BYTES`, or `LARGEST_RATIO` times its size where that is more, and never more than the
free space of the temporary folder. `zstandard` and `lz4` come with `mcap`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from irvis_fusion_ros.bags.bag_error import BagError, bag_library

LARGEST_BYTES = 256 * 1024 * 1024
"""Of a chunk or message; an image of 8000 x 6000 pixels in 32FC1 has 183 MiB."""
LARGEST_FILE_BYTES = 1024 * 1024 * 1024
LARGEST_RATIO = 1000
"""zstd makes a byte of up to 32 000 equal ones; images of cameras give 1 to 3."""
_SPARE_BYTES = 64 * 1024 * 1024
_PIECE_BYTES = 4096  # at most 128 MB when it is decompressed

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
LZ4_MAGIC = b"\x04\x22\x4d\x18"


def largest_content(size: int) -> int:
    """Return to how many bytes a file of `size` bytes may unpack on disk."""
    return max(LARGEST_FILE_BYTES, LARGEST_RATIO * size)


def is_compressed(data: bytes) -> bool:
    """Return whether bytes begin as a zstd or lz4 frame; no CDR message does."""
    return data[:4] in (ZSTD_MAGIC, LZ4_MAGIC)


def unpack(data: bytes, declared: int | None = None) -> bytes:
    """Return the bytes of a zstd or lz4 frame.

    Args:
        declared: The size that the recording states; None where it states none.

    Raises:
        BagError: The frame is damaged, exceeds the limit, or has another size than declared.
    """
    most = LARGEST_BYTES if declared is None else declared
    _check_size(most, LARGEST_BYTES)
    try:
        if data[:4] == ZSTD_MAGIC:
            zstandard = bag_library("zstandard")
            _check_size(zstandard.frame_content_size(data), most)
            found: bytes = zstandard.ZstdDecompressor().decompress(data, most or 1)
        else:
            frame = bag_library("lz4.frame").LZ4FrameDecompressor()
            found = frame.decompress(data, most + 1)
            _check_size(len(found), most)
            if not frame.eof:
                raise BagError("compressed data that is cut off")
    except BagError:
        raise
    except Exception as error:  # of zstandard and lz4
        what = f"compressed data that is damaged or exceeds {most} bytes"
        raise BagError(f"{what} ({error})") from error
    if declared is not None and len(found) != declared:
        raise BagError(f"compressed data of {len(found)} bytes that declares {declared}")
    return found


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise BagError(
            f"compressed data that declares or exceeds {size} bytes, where {most} are the most"
        )


def unpack_file(source: Path, target: Path) -> str:
    """Decompress a file that begins as zstd; return "", or why its end is missing.

    Raises:
        BagError: It exceeds the limits.
        OSError: A file cannot be read or written.
    """
    zstandard = bag_library("zstandard")
    size = source.stat().st_size
    most = largest_content(size)
    free = shutil.disk_usage(target.parent).free - _SPARE_BYTES

    def check(bytes_written: int) -> None:
        if bytes_written > free:
            raise BagError(
                f"expected room for {bytes_written} bytes of {source} in {target.parent}, found "
                f"{max(free, 0)}; set TMPDIR to a folder on a larger disk"
            )
        if bytes_written > most:
            raise BagError(
                f"expected {source} ({size} bytes) to hold at most {most} bytes, found "
                f"{bytes_written} or more; if that is right, decompress it with `zstd -d`"
            )

    new_frame = zstandard.ZstdDecompressor().decompressobj
    written, frame = 0, new_frame()
    with open(source, "rb") as stream, open(target, "wb") as out:
        check(zstandard.frame_content_size(stream.read(32)))
        stream.seek(0)
        while True:
            piece = stream.read(_PIECE_BYTES)
            if not piece:
                return "" if frame.eof else "is cut off"
            while piece:
                if frame.eof:
                    frame = new_frame()
                try:
                    found = frame.decompress(piece)
                except Exception as error:  # noqa: BLE001 - zstandard.ZstdError
                    return f"is damaged ({error})"
                written += len(found)
                check(written)
                out.write(found)
                piece = frame.unused_data if frame.eof else b""
