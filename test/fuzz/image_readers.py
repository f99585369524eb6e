"""Image messages, compressed images, and image files."""

from __future__ import annotations

import struct
import types
import zlib

import cv2
import numpy as np
from fuzz.reader import Reader, by_first_byte, file_of, numbered
from hostile_images import CODERS, coded, declaring, png, tiff_of_tags, with_scans
from thermal_jpegs import dji, flir_of_a_drone, radiometric_flir

from irvis_fusion_core.errors import FusionError
from irvis_fusion_core.image_files import read_thermal, read_visible
from irvis_fusion_ros.messages.compressed_messages import decode, encode
from irvis_fusion_ros.messages.image_encodings import LAYOUTS, SEMI_PLANAR
from irvis_fusion_ros.messages.image_messages import fused_bytes, passed_bytes, visible_frame
from irvis_fusion_ros.messages.serialized_image import (
    SerializedCompressedImage,
    SerializedImage,
    head_bytes,
    image_bytes,
    info_bytes,
    stamp_ns_of,
    with_stamp,
)
from irvis_fusion_ros.pipeline.frames import VisFrame
from irvis_fusion_ros.pipeline.message_checks import MessageChecks

HEAD = head_bytes(12, 34, "camera")
MOST_PIXELS = 1 << 20
FORMATS = (
    "jpeg", "png", "tiff", "rgb8; jpeg compressed bgr8", "bayer_rggb8; png compressed mono8",
    "16UC1; png compressed ", "mono16; png compressed ", "16UC1; compressedDepth png",
    "16UC1; compressedDepth rvl", "32FC1; compressedDepth png", "",
)  # fmt: skip


def big_endian(raw: bytes, form: str) -> bytes:
    """Return a little-endian message of `head_bytes` and fields of a form in the other order."""
    out, at = bytearray(raw), 4
    out[1] = 0
    for kind in "iIS" + form:
        at += 0 if kind == "B" else -at % 4
        size = 1 if kind == "B" else 4
        out[at : at + size] = raw[at : at + size][::-1]
        length = struct.unpack_from("<I", raw, at)[0] if kind in "SD" else 0
        at += size + length
    return bytes(out)


def read_image(data: bytes) -> None:
    """Do with the bytes of an Image what the node does, for either camera."""
    message = SerializedImage(data)
    notes: list[str] = []
    checks = MessageChecks(lambda kind, text: notes.append(text))
    checks.ir(message)
    frame, fault = checks.vis(VisFrame(1, message, None, 0, 0))
    if fault is None and frame.pixels is not None:
        colour, order = visible_frame(message, frame.pixels)
        out = SerializedImage(fused_bytes(colour, message, order))
        assert (out.height, out.width) == (message.height, message.width)
        assert SerializedImage(passed_bytes(message)).header == out.header
    assert all(notes)


def read_compressed(data: bytes) -> None:
    """Read the fields of a CompressedImage and decode it."""
    message = SerializedCompressedImage(data)
    decode(message, MOST_PIXELS)


def change_header(data: bytes) -> None:
    """Read and change the header of a message of any type; put another one before CameraInfo."""
    assert stamp_ns_of(with_stamp(data, 5_000_000_007)) == 5_000_000_007
    assert len(info_bytes(data, HEAD)) > len(HEAD)


def messages() -> list[bytes]:
    """Return an Image of every encoding, in both byte orders."""
    found = []
    for name, layout in LAYOUTS.items():
        shape = (2, 4, layout.channels)
        pixels = np.arange(np.prod(shape), dtype="<" + layout.type_code).reshape(shape)
        found.append(image_bytes(HEAD, name, pixels))
    for name in SEMI_PLANAR:
        rows = 6 if name == "nv24" else 3
        raw = bytearray(image_bytes(HEAD, name, np.zeros((rows, 4), np.uint8)))
        struct.pack_into("<I", raw, len(HEAD) + -len(HEAD) % 4, 2)  # its height, without chroma
        found.append(bytes(raw))
    return [*found, *(big_endian(each, "IISBID") for each in found[::5])]


def compressed() -> list[bytes]:
    """Return a CompressedImage in both byte orders."""
    found = encode(np.full((4, 6, 3), 90, np.uint8), HEAD)
    return [found, big_endian(found, "SD")]


def headers() -> list[bytes]:
    """Return CameraInfo messages and a bare header."""
    name = b"plumb_bob\0"
    front = HEAD + bytes(-len(HEAD) % 4) + struct.pack("<II", 480, 640)
    front += struct.pack(f"<I{len(name)}s", len(name), name)
    front += bytes(-len(front) % 4) + struct.pack("<I", 5)
    info = front + bytes(-(len(front) - 4) % 8) + struct.pack("<26d", *range(26)) + bytes(40)
    return [info, big_endian(HEAD, ""), b"\0\7" + info[2:]]


def with_checksums(data: bytes) -> bytes:
    """Return data whose first PNG has the checksums of its changed chunks."""
    out, at = bytearray(data), data.find(b"\x89PNG") + 8
    while at + 12 <= len(out):
        end = at + 8 + struct.unpack_from(">I", out, at)[0]
        if end + 4 > len(out):
            break
        struct.pack_into(">I", out, end, zlib.crc32(out[at + 4 : end]))
        at = end + 4
    return bytes(out)


def unpack_image(data: bytes) -> None:
    """Decode a compressed image; the first byte is its format, and whether checksums are right."""
    kind, data = (data[0], data[1:]) if data else (0, b"")
    data = with_checksums(data) if kind & 128 else data
    text = FORMATS[kind % 128 % len(FORMATS)]
    pixels, _ = decode(types.SimpleNamespace(format=text, data=data), MOST_PIXELS)
    assert pixels.shape[0] * pixels.shape[1] <= MOST_PIXELS


def packed_images() -> list[bytes]:
    """Return small images of the formats, as OpenCV writes them and hostile ones."""
    rng = np.random.default_rng(0)
    depth = cv2.imencode(".png", rng.integers(0, 9000, (6, 8), np.uint16))[1].tobytes()
    flags = {"JPEG": b"\0", "PNG": b"\x81", "TIFF": b"\2", "WebP": b"\0"}
    found = [
        flags[name.split()[0]] + coded(name, 6, 8) for name in CODERS if name.split()[0] in flags
    ]
    found += [bytes([128 + 5]) + depth, bytes([128 + 7]) + bytes(12) + depth]
    grey = rng.integers(0, 255, (6, 8), np.uint8)
    for predictor, compression in ((1, 1), (2, 5), (2, 8), (1, 32773)):  # none, LZW, ZIP, PackBits
        options = (cv2.IMWRITE_TIFF_COMPRESSION, compression)
        options += (cv2.IMWRITE_TIFF_PREDICTOR, predictor)
        found.append(b"\2" + cv2.imencode(".tiff", grey, options)[1].tobytes())
    found += [b"\x81" + png(), b"\0" + with_scans(2), b"\2" + tiff_of_tags(3, 2)]
    return found + [b"\0" + declaring("JPEG", 4000, 4000), b"\x81" + declaring("PNG", 9000, 9000)]


def read_visible_file(data: bytes) -> None:
    """Read a file as a visible image."""
    read_visible(file_of(data, "image"))


def read_thermal_file(data: bytes) -> None:
    """Read a file as a thermal image, from its raster where it has one."""
    image = read_thermal(file_of(data, "thermal"))
    assert image.ndim == 2 and image.dtype in (np.uint8, np.uint16, np.float32)


def image_files() -> list[bytes]:
    """Return image files of every format that is read."""
    return [coded(name, 6, 8) for name in CODERS] + [declaring("BMP", 60, 50)]


def thermal_files() -> list[bytes]:
    """Return radiometric files of the three kinds, false colours, and swapped bytes."""
    counts = (np.arange(48, dtype=np.uint16) * 20 + 13000).reshape(6, 8)
    colours = cv2.applyColorMap(np.arange(48, dtype=np.uint8).reshape(6, 8) * 5, 2)
    files = [
        cv2.imencode(suffix, pixels)[1].tobytes()
        for suffix, pixels in ((".png", colours), (".png", counts.byteswap()), (".tiff", counts))
    ]
    raster = np.arange(4800, dtype="<u2").tobytes()
    return [radiometric_flir(counts), flir_of_a_drone(counts), dji(raster), *files]


READERS = (
    Reader(
        "image messages",
        by_first_byte(read_image, read_compressed, change_header),
        lambda: numbered(messages(), compressed(), headers()),
        (FusionError,),
        longest=1024,
    ),
    Reader("compressed images", unpack_image, packed_images, longest=8192),
    Reader(
        "image files",
        by_first_byte(read_thermal_file, read_visible_file),
        lambda: numbered(thermal_files(), image_files()),
        libraries=("flyr",),
        megabytes=2048,
        longest=16384,
    ),
)
