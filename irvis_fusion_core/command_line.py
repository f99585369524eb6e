"""Shared parts of the commands: parsers, engine options, errors, a progress bar."""

from __future__ import annotations

import argparse
import functools
import inspect
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from irvis_fusion_core.errors import FusionError

if TYPE_CHECKING:
    from irvis_fusion_core.fusion import RealtimeFusion

_NUMBER = re.compile(r"-|nan|[-+]?(inf|\d[\d.]*(e[-+]?\d+)?)[x%]*")
Item = TypeVar("Item")


def command(function: Callable[[list[str]], int]) -> Callable[..., int]:
    """Turn a function of the argument list into a `main`.

    A FusionError ends as one line on stderr and its exit status (1, of incomplete bags 2) instead
    of a traceback. Ctrl-C gives 130, a closed stdout (`| head`) gives 1.
    """
    module = function.__module__
    if module == "__main__":
        spec = sys.modules["__main__"].__spec__  # None for a file that runs by its path
        module = spec.name if spec else os.path.splitext(os.path.basename(sys.argv[0]))[0]
    room, _, name = module.rpartition(".")
    program = f"irvis_fusion {name}" if room.startswith("irvis_fusion") else module

    @functools.wraps(function)
    def main(arguments: list[str] | None = None) -> int:
        try:
            return function(sys.argv[1:] if arguments is None else arguments)
        except FusionError as error:
            print(f"{program}: {error}", file=sys.stderr)
            return error.exit_status
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:
            # Python would report the error again when it flushes stdout at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1

    return main


def make_parser(module_doc: str | None, name: str) -> argparse.ArgumentParser:
    """Return a parser whose help is the docstring of a module: first line, then examples."""
    summary, _, rest = inspect.cleandoc(module_doc or "").partition("\n")
    return argparse.ArgumentParser(
        prog=f"irvis_fusion {name}",
        description=summary,
        epilog=rest.strip("\n").replace("::", ":"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the engine, for `open_fusion`."""
    from irvis_fusion_core.backends import backend_names

    add = parser.add_argument_group("engine").add_argument
    models = "auto, nano, small, base, or an .onnx file (default: auto)"
    add("--model", default="auto", help=models)
    backends = "auto, " + ", ".join(backend_names()) + " (default: auto)"
    add("--backend", default="auto", help=backends)
    add("--device", help="cpu, cuda, cuda:1, ... (default: the best there is)")
    add("--precision", help="fp32, fp16, bf16 or int8 (default: the engine's)")
    add("--threads", type=int, default=0, metavar="N", help="CPU threads (default: the engine's)")
    add("--cache-dir", metavar="DIR", help="folder of built TensorRT engines")


def open_fusion(options: argparse.Namespace) -> RealtimeFusion:
    """Open a `RealtimeFusion` by the options of `add_engine_options`."""
    from irvis_fusion_core.fusion import RealtimeFusion

    return RealtimeFusion(
        options.model,
        options.backend,
        thermal=None,  # commands rescale what they read
        precision=options.precision,
        device=options.device,
        threads=options.threads,
        cache_dir=options.cache_dir,
        progress=say,
    )


def say(line: str) -> None:
    """Print a line on stderr."""
    print(line, file=sys.stderr)


def parse_size(text: str) -> tuple[int, int]:
    """Read `640x480` (width x height) as (height, width)."""
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 640x480, found {text!r}")
    return int(height), int(width)


def one_of(names: Iterable[str], what: str) -> Callable[[str], list[str]]:
    """Return an argparse type for comma-separated lists of `names`."""
    allowed = list(names)

    def parse(text: str) -> list[str]:
        chosen = [part.strip() for part in text.split(",") if part.strip()]
        unknown = [part for part in chosen if part not in allowed]
        if unknown or not chosen:
            expected = f"{what} out of {', '.join(allowed)}"
            raise argparse.ArgumentTypeError(f"expected {expected}, found {text!r}")
        return chosen

    return parse


def show_progress(items: Iterable[Item], total: int, quiet: bool = False) -> Iterator[Item]:
    """Yield the items and draw a bar on stderr if that is a terminal.

    `total` is 0 or less where the number of items is unknown (some videos).
    """
    stream = sys.stderr
    shown = not quiet and stream.isatty()
    started = drawn = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if shown and (now - drawn > 0.1 or done == total):
            drawn = now
            stream.write("\r" + progress_line(done, total, now - started))
            stream.flush()
    if shown and done:
        stream.write("\n")


def progress_line(done: int, total: int, elapsed_s: float, width: int = 30) -> str:
    """Return the bar as text: share, count, rate, and remaining time."""
    rate = done / elapsed_s if elapsed_s > 0 else 0.0
    if total <= 0:
        return "%d frames, %.1f a second" % (done, rate)
    bar = ("#" * (width * min(done, total) // total)).ljust(width, ".")
    left_s = (total - done) / rate if rate and total > done else 0.0
    return "[%s] %d/%d, %.1f a second, %d s left " % (bar, done, total, rate, left_s)


def print_table(rows: list[list[str]], stream: Any = None) -> None:
    """Print rows below the first one as headings; numbers are right-aligned."""
    stream = stream or sys.stdout
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [
            cell.rjust(width) if number and _NUMBER.fullmatch(cell) else cell.ljust(width)
            for cell, width in zip(row, widths)
        ]
        stream.write("  ".join(cells).rstrip() + "\n")
        if number == 0:
            stream.write("  ".join("-" * width for width in widths) + "\n")
