"""Messages that are broken: every field of Image, CompressedImage and CameraInfo."""

import array
import random
import struct

import numpy as np
from builtin_interfaces.msg import Time
from faults.campaign import Fault, Group
from graph import HEIGHT, WIDTH
from hostile_images import coded, declaring, png, with_scans
from rclpy.serialization import serialize_message

MOST = 2**32 - 1


def setting(**fields):
    """Return what sets these fields of a message; a function is called with the message."""

    def alter(message, index):
        for name, value in fields.items():
            setattr(message, name, value(message) if callable(value) else value)
        return message

    return alter


def framed(end):
    """Return what lets the frame_id end so."""

    def alter(message, index):
        message.header.frame_id += end
        return message

    return alter


def raw(change):
    """Return what publishes `change(bytes)` of the serialized message."""
    return lambda message, index: change(bytes(serialize_message(message)))


def length_of_data(value):
    """Return what declares this length for the data, the last field of an image."""

    def change(data):
        at = len(data) - 3 * HEIGHT * WIDTH - 4
        at = at if at > 0 else len(data) - HEIGHT * WIDTH - 4
        return data[:at] + struct.pack("<I", value) + data[at + 4 :]

    return raw(change)


def noise(data):
    """Return bytes at random behind the encapsulation."""
    return data[:4] + random.Random(len(data)).randbytes(len(data) - 4)


# name -> what alters the message, and why a visible frame is dropped; None: it comes out.
IMAGES = {
    "data cut short": (setting(data=lambda m: m.data[:100]), "short_data"),
    "no data": (setting(data=lambda m: m.data[:0]), "short_data"),
    "data twice as long": (setting(data=lambda m: m.data + m.data), None),
    "step too small": (setting(step=3), "wrong_step"),
    "step 0": (setting(step=0), "wrong_step"),
    "step 2^32-1": (setting(step=MOST), "short_data"),
    "height 0": (setting(height=0), "zero_size"),
    "width 0": (setting(width=0), "zero_size"),
    "height 2^32-1": (setting(height=MOST), "too_large"),
    "width 2^32-1": (setting(width=MOST), "too_large"),
    "another encoding than the data": (setting(encoding="rgba8"), "wrong_step"),
    "is_bigendian 255": (setting(is_bigendian=255), None),
    "frame_id of 100 kB": (framed("x" * 100_000), None),
    "message cut within a field": (raw(lambda data: data[:50]), "unreadable"),
    "message without its last bytes": (raw(lambda data: data[:-8]), "unreadable"),
    "four bytes alone": (raw(lambda data: data[:4]), "unreadable"),
    "bytes at random": (raw(noise), "unreadable"),
    "data declared as 2^32-1 bytes": (length_of_data(MOST), "unreadable"),
}
UNKNOWN = {
    "no encoding": setting(encoding=""),
    "an unknown encoding": setting(encoding="no_such"),
    "a megabyte for an encoding": setting(encoding="e" * 1_000_000),
}
ODD_IR = {
    "data twice as long": ("ir: long data",),
}


def visible_images():
    """Return the faults of visible images."""
    for name, (alter, kind) in IMAGES.items():
        dropped = ("vis_" + kind,) if kind else ()
        says = ("vis: " + kind,) if kind else ()
        quick = name in ("data cut short", "message cut within a field")
        yield Fault(name, vis=alter, dropped=dropped, says=says, quick=quick)
    for name, alter in UNKNOWN.items():
        yield Fault(name, vis=alter, passed=("unusable_pair",), says=("vis: unknown_encoding",))


def thermal_images():
    """Return the faults of thermal images: no visible frame is lost."""
    for name, (alter, kind) in IMAGES.items():
        says = ODD_IR.get(name, ("ir: " + kind,) if kind else ())
        quick = name == "bytes at random"
        yield Fault(name, ir=alter, says=says, quick=quick)
    for name, alter in UNKNOWN.items():
        yield Fault(name, ir=alter, says=("ir: unknown_encoding",))
    yield Fault(
        "every pixel NaN",
        passed=("unusable_pair",),
        ir=setting(encoding="32FC1", step=4 * WIDTH, data=lambda m: floats(np.nan)),
        says=("ir: not_finite",),
    )


def floats(value):
    """Return the data of a 32FC1 image."""
    data = array.array("B")
    data.frombytes(np.full((HEIGHT, WIDTH), value, np.float32).tobytes())
    return data


PACKED = {
    "PNG whose chunk declares gigabytes": (png(length=0x7FFFFFFF), "undecodable"),
    "JPEG with 500 scans": (with_scans(500), "too_many_scans"),
    "PNG that declares 4000x4000": (declaring("PNG", 4000, 4000), "too_large"),
    "JPEG that declares 65500x65500": (declaring("JPEG", 65500, 65500), "too_large"),
    "BMP that declares 30000x30000": (declaring("BMP", 30000, 30000), "unknown_format"),
    "TIFF that declares 2^20x2^20": (declaring("TIFF", 2**20, 2**20), "too_large"),
    "GIF": (b"GIF89a" + bytes(50), "unknown_format"),
    "JPEG cut in the middle": (coded("JPEG", HEIGHT, WIDTH)[:3000], "undecodable"),
    "no data at all": (b"", "zero_size"),
    "a megabyte of zeros": (bytes(1_000_000), "undecodable"),
}
PACKED_FIELDS = {
    "no format": (setting(format=""), None),
    "a megabyte for a format": (setting(format="f" * 1_000_000), None),
    "compressed message cut": (raw(lambda data: data[:30]), "unreadable"),
}


def compressed_images(camera):
    """Return the faults of compressed images of `camera`."""
    rows = {name: (setting(data=data), kind) for name, (data, kind) in PACKED.items()}
    for name, (alter, kind) in {**rows, **PACKED_FIELDS}.items():
        says = (f"{camera}: {kind}",) if kind else ()
        dropped = (f"vis_{kind}",) if kind and camera == "vis" else ()
        yield Fault(name, dropped=dropped, says=says, **{camera: alter})


def numbers(value):
    """Return what puts `value` into every number of a calibration."""
    return setting(k=[value] * 9, p=[value] * 12, r=[value] * 9)


def flapping(message, index):
    """Return another calibration each time."""
    message.k[0] = 250.0 + index
    return message


INFOS = {
    "camera matrix of zeros": numbers(0.0),
    "camera matrix of NaN": numbers(float("nan")),
    "camera matrix of 1e308": numbers(1e308),
    "a thousand distortion coefficients": setting(d=[0.1] * 1000),
    "an unknown distortion model": setting(distortion_model="no_such", d=[0.1] * 5),
    "size 0x0": setting(height=0, width=0),
    "size 2^32-1": setting(height=MOST, width=MOST),
    "binning 2^32-1": setting(binning_x=MOST, binning_y=MOST),
    "calibration of 100 kB": setting(distortion_model="m" * 100_000),
    "calibration that changes each time": flapping,
    "calibration message cut": raw(lambda data: data[:60]),
    "calibration at random": raw(noise),
}


def stamped(change):
    """Return what replaces the stamp by `change(seconds, nanoseconds, index)`."""

    def alter(message, index):
        stamp = message.header.stamp
        sec, nanosec = change(stamp.sec, stamp.nanosec, index)
        message.header.stamp = Time(sec=sec, nanosec=nanosec)
        return message

    return alter


# name -> what alters the message; why frames pass where visible, where thermal frames have it.
STAMPS = {
    "stamp zero": (stamped(lambda s, ns, i: (0, 0)), "zero_stamp", "ir_unstamped"),
    "stamp an hour back": (stamped(lambda s, ns, i: (s - 3600, ns)), "ir_ahead", "ir_late"),
    "stamp an hour ahead": (stamped(lambda s, ns, i: (s + 3600, ns)), "ir_late", "ir_ahead"),
    "stamp 2^31-1": (stamped(lambda s, ns, i: (2**31 - 1, ns)), "ir_late", "ir_ahead"),
    "stamp negative": (stamped(lambda s, ns, i: (-(2**31), 0)), "zero_stamp", "ir_unstamped"),
    "stamp since boot": (stamped(lambda s, ns, i: (100 + i, ns)), "ir_ahead", "ir_late"),
    "nanoseconds 2^32-1": (stamped(lambda s, ns, i: (s, MOST)), "ir_late", "ir_ahead"),
    "stamp equal each time": (stamped(lambda s, ns, i: (10**9, 5)), "ir_ahead", "ir_late"),
}


def stamps(camera):
    """Return the faults of stamps of `camera`: every visible frame comes out, fused or not."""
    for name, (alter, of_vis, of_ir) in STAMPS.items():
        passed = (of_vis if camera == "vis" else of_ir,)
        may_pass = ("no_ir", "cleared", "duplicate_stamp", "ir_ahead")
        quick = name == ("stamp an hour back" if camera == "vis" else "stamp zero")
        yield Fault(name, passed=passed, may_pass=may_pass, quick=quick, **{camera: alter})


GROUPS = (
    Group("visible image", tuple(visible_images())),
    Group("thermal image", tuple(thermal_images())),
    Group("compressed visible image", tuple(compressed_images("vis")), compressed=("vis",)),
    Group("compressed thermal image", tuple(compressed_images("ir")), compressed=("ir",)),
    Group("camera_info", tuple(Fault(name, info=alter) for name, alter in INFOS.items())),
    Group("stamps of the visible camera", tuple(stamps("vis"))),
    Group("stamps of the thermal camera", tuple(stamps("ir"))),
)
