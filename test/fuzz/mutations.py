"""Changed inputs without a fuzzer: the same ones each time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

_NUMBERS = (0, 1, 2, 3, 4, 127, 128, 255, 256, 65535, 1 << 31, (1 << 32) - 1, (1 << 63) - 1)
_TOKENS = (b"", b"\0", b"-1", b"1e400", b"nan", b"[", b"{", b"]", b"null", b"9" * 40, b"\xff\xfe")


def mutated(seeds: Sequence[bytes], count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield `count` inputs: a seed each, with one to four changes."""
    draw = random.Random(seed)
    for number in range(count):
        data = bytearray(seeds[number % len(seeds)])
        for _ in range(draw.randint(1, 4)):
            _change(data, seeds, draw)
        yield bytes(data)


def _change(data: bytearray, seeds: Sequence[bytes], draw: random.Random) -> None:
    # Most of what decides stands at the beginning.
    at = draw.randrange(min(len(data) + 1, draw.choice((16, 64, 256, 1 << 30))))
    end = at + draw.choice((1, 2, 4, 8, 16, 64))
    kind = draw.randrange(7)
    if kind == 0 and data:
        data[min(at, len(data) - 1)] ^= 1 << draw.randrange(8)
    elif kind == 1:
        size = draw.choice((1, 2, 4, 8))
        number = draw.choice(_NUMBERS) % (1 << 8 * size)
        data[at : at + size] = number.to_bytes(size, draw.choice(("little", "big")))
    elif kind == 2:
        del data[at:end]
    elif kind == 3:
        data[at:at] = data[at:end] * draw.choice((1, 2, 30))
    elif kind == 4:
        data[at:end] = draw.choice(_TOKENS)
    elif kind == 5:
        other = draw.choice(seeds)
        start = draw.randrange(len(other) + 1)
        data[at:end] = other[start : start + end - at]
    else:
        del data[draw.randrange(len(data) + 1) :]
