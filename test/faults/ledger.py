"""What was published, what came out, and what the node says became of the rest."""

import struct
import time
from collections import Counter, OrderedDict, deque
from typing import NamedTuple

import numpy as np

OUTCOMES = ("fused", "passed: ", "dropped: ", "lost: ")
"""The counts `frames ...` of the status `fusion` that are the end of a frame."""
KEPT = 300
"""Frames whose pixels are remembered until they come out."""
THERMAL_KEPT = 60


class Out(NamedTuple):
    """An image that came out."""

    number: int
    encoding: str
    pixels: np.ndarray


def read_image(raw):
    """Read a sensor_msgs/Image out of CDR, field by field; numbers are in the frame_id."""

    def text(at):
        (length,) = struct.unpack_from("<I", raw, at)
        return bytes(raw[at + 4 : at + 3 + length]), at + 4 + length

    frame_id, at = text(12)
    height, width = struct.unpack_from("<II", raw, at + -at % 4)
    encoding, at = text(at + -at % 4 + 8)
    at += 1  # is_bigendian
    _, length = struct.unpack_from("<II", raw, at + -at % 4)
    data = np.frombuffer(raw, np.uint8, length, at + -at % 4 + 8)
    number = int(frame_id[4:10]) if frame_id[4:10].isdigit() else -1
    shape = (height, -1, 3) if height and length == 3 * height * width else (-1,)
    return Out(number, encoding.decode(errors="replace"), data.reshape(shape))


class Account(NamedTuple):
    """The ends of the frames that were published since the ledger was opened."""

    published: int
    ends: Counter

    def total(self, kind):
        """Return how many frames had an end of this kind, such as `dropped`."""
        return sum(count for end, count in self.ends.items() if end.startswith(kind))


class Ledger:
    """Numbers the visible frames and compares them with what comes out; `open` starts afresh."""

    def __init__(self):
        """Start with nothing."""
        self.numbers = 0
        self.thermal = deque(maxlen=THERMAL_KEPT)
        self.knows_pixels = True
        """Whether what is fused must be the maximum with a thermal frame that was sent."""
        self.open({})

    def open(self, counts):
        """Forget what was; `counts` are the node's counts of frames now."""
        self._before = dict(counts)
        self.sent = {}  # number -> publisher
        self.altered = set()
        self.out = []
        self.foreign = 0
        self.wrong = []
        self.latencies_s = []
        self.newest_is_fused = False
        self._pixels = OrderedDict()
        self._sent_s = {}

    def number(self, publisher, pixels, altered=False):
        """Return the number of a frame that is about to be published."""
        self.numbers += 1
        self.sent[self.numbers] = publisher
        self._sent_s[self.numbers] = time.monotonic()
        if altered:
            self.altered.add(self.numbers)
        else:
            self._pixels[self.numbers] = pixels
            if len(self._pixels) > KEPT:
                self._pixels.popitem(last=False)
        return self.numbers

    def arrived(self, raw):
        """Take an image that came out: unchanged, fused with a thermal frame that was sent, or
        wrong.
        """
        out = read_image(raw)
        if out.number not in self.sent:
            self.foreign += 1
            return
        self.out.append(out.number)
        self.latencies_s.append(time.monotonic() - self._sent_s[out.number])
        vis = self._pixels.pop(out.number, None)
        if vis is None or out.encoding != "bgr8":
            return
        if np.array_equal(out.pixels, vis):
            self.newest_is_fused = False
            return
        self.newest_is_fused = True
        if self.knows_pixels and not any(
            np.array_equal(out.pixels, np.maximum(ir[..., None], vis))
            for ir in reversed(self.thermal)
            if ir.shape == vis.shape[:2]
        ):
            changed = (out.pixels != vis).any(-1)
            found = sorted(set(map(tuple, out.pixels[changed].tolist())))[:8]
            self.wrong.append((out.number, int(changed.sum()), found))

    def account(self, counts):
        """Return what became of the frames, by the node's counts."""
        ends = {end: n for end, n in counts.items() if end.startswith(OUTCOMES)}
        grown = Counter({end: n - self._before.get(end, 0) for end, n in ends.items()})
        return Account(len(self.sent), +grown)

    def node_published(self, counts):
        """Return how many frames the node says were published; None where it does not say."""
        now, before = counts.get("published"), self._before.get("published", 0)
        return None if now is None else now - before

    def check(self, account, counts):
        """Assert the identity, and that frames came out once, in order, and as they should.

        Published = fused + passed + dropped + lost, by the sender's own count and by the node's;
        what came out is what was fused or passed.
        """
        told = f"{account}, out {len(self.out)}, missing {sorted(set(self.sent) - set(self.out))}"
        assert account.published == sum(account.ends.values()), told
        assert self.node_published(counts) in (None, account.published), told
        assert counts.get("on their way", 0) == 0, told
        self.check_order()
        came_out = account.total("fused") + account.total("passed")
        assert len(self.out) == came_out, told
        if not account.total("lost"):
            assert set(self.sent) - set(self.out) <= self.altered, told
        assert not self.wrong, f"neither unchanged nor fused: {self.wrong}"

    def check_order(self):
        """Assert that no frame came out twice, and those of each publisher in order."""
        assert len(set(self.out)) == len(self.out), f"twice: {self.out}"
        for publisher in set(self.sent.values()):
            own = [number for number in self.out if self.sent[number] == publisher]
            assert own == sorted(own), f"disordered: {own}"
