"""Fuzz the readers: `run.py --seconds 600 [--page docs/reliability.md] [NAME ...]`.

Each reader runs in a process of its own under atheris (libFuzzer), guided by the branches of the
project's Python and of the libraries that the row names; what is compiled (OpenCV, SQLite, zstd)
is run, not followed. An error of another class is written to `OUTPUT/NAME/` with its traceback,
and the fuzzer goes on; at a crash, a hang or too much memory the process ends, its input is
written, and another one goes on. The status is 1 where anything was found.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import platform
import re
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OURS = ("irvis_fusion_core", "irvis_fusion_ros", "training")
BEGIN, END = "<!-- fuzz: begin -->", "<!-- fuzz: end -->"
MOST_ENDS = 20
"""Crashes and hangs of one reader after which it is left."""


def fuzz(name: str, output: Path, arguments: list[str]) -> None:
    """Fuzz one reader in this process, until libFuzzer ends it."""
    import atheris

    sys.path[:0] = [str(ROOT), str(ROOT / "test")]
    with atheris.instrument_imports(include=[*OURS, *_libraries(name)]):
        from fuzz.table import READERS

        reader = READERS[name]
        for library in reader.libraries:
            importlib.import_module(library)
        seeds = reader.seeds()
    corpus = output / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    known = (ROOT / "test/fuzz/found" / reader.folder).glob("*")
    for data in [*seeds, *(path.read_bytes() for path in known)]:
        (corpus / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)
    found: set[str] = set()

    def one(data: bytes) -> None:
        try:
            reader.attempt(data)
        except Exception as error:  # noqa: BLE001 - each is a finding
            place = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__}_{Path(place.filename).stem}_{place.lineno}"
            if kind not in found:
                found.add(kind)
                (output / kind).write_bytes(data)
                (output / f"{kind}.txt").write_text(traceback.format_exc())

    limits = [f"-timeout={reader.seconds}", f"-rss_limit_mb={reader.megabytes}"]
    limits += [f"-max_len={reader.longest}", f"-artifact_prefix={output}/", "-print_final_stats=1"]
    limits += ["-close_fd_mask=3"]  # OpenCV and its libraries print at every bad file
    atheris.Setup([sys.argv[0], *limits, *arguments, str(corpus)], one)
    atheris.Fuzz()


def _libraries(name: str) -> tuple[str, ...]:
    """Return the libraries of a row without importing the table, which has to be watched."""
    found = subprocess.run(
        [sys.executable, __file__, "--list"], capture_output=True, check=True, text=True
    )
    return tuple(json.loads(found.stdout)[name])


def run_reader(name: str, seconds: float, output: Path) -> dict[str, Any]:
    """Fuzz a reader in processes of its own; return the figures."""
    output.mkdir(parents=True, exist_ok=True)
    for old in (*output.glob("*.txt"), *output.glob("*-*"), *output.glob("*_*_*")):
        old.unlink()
    figures = {"name": name, "executions": 0, "seconds": 0.0, "features": 0, "megabytes": 0}
    log, ends = output / "log", 0
    log.unlink(missing_ok=True)
    while figures["seconds"] < seconds and ends < MOST_ENDS:
        rest = max(1, round(seconds - figures["seconds"]))
        command = [sys.executable, __file__, "--one", name, "--output", str(output)]
        started = time.monotonic()
        with open(log, "ab") as stream:
            begin = stream.tell()
            process = subprocess.run(
                [*command, f"-max_total_time={rest}"], stdout=stream, stderr=stream, check=False
            )
        text = log.read_bytes()[begin:].decode("utf-8", "replace")
        _add(figures, text)
        figures["seconds"] = round(figures["seconds"] + time.monotonic() - started, 1)
        if process.returncode:
            ends += 1
            tail = "\n".join(text.splitlines()[-40:])
            (output / f"end_{ends}.txt").write_text(f"status {process.returncode}\n{tail}\n")
    figures["findings"] = sorted(path.stem for path in output.glob("*.txt"))
    return figures


def _add(figures: dict[str, Any], text: str) -> None:
    """Add what libFuzzer printed."""
    lines = re.findall(r"^#(\d+)\s.* ft: (\d+) .* rss: (\d+)Mb", text, re.MULTILINE)
    done = [int(number) for number in re.findall(r"executed_units:\s*(\d+)", text)]
    figures["executions"] += max(done + [int(line[0]) for line in lines], default=0)
    figures["features"] = max([figures["features"], *(int(line[1]) for line in lines)])
    figures["megabytes"] = max([figures["megabytes"], *(int(line[2]) for line in lines)])


def machine() -> str:
    """Return processor and Python, as the page names them."""
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    cores = len(os.sched_getaffinity(0))
    processor = names[0] if names else platform.machine()
    return f"{processor}, {cores} cores, Python {platform.python_version()}"


def table(outcomes: list[dict[str, Any]]) -> str:
    """Return the figures as a table."""
    rows = [
        "| reader | seconds | inputs | coverage features | most memory, MB | findings |",
        "|---|---|---|---|---|---|",
    ]
    for each in outcomes:
        cells = [each["name"], f"{each['seconds']:.0f}", str(each["executions"])]
        cells += [str(each["features"]), str(each["megabytes"]), str(len(each["findings"]))]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> int:
    """Run the readers one after the other; return the status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="readers; all without one")
    parser.add_argument("--seconds", type=float, default=600.0, help="for each reader")
    parser.add_argument("--output", type=Path, default=ROOT / "out/fuzz")
    parser.add_argument("--page", type=Path, help="write the table between its marks")
    parser.add_argument("--list", action="store_true", help="print the readers as JSON")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options, rest = parser.parse_known_args()
    if options.one:
        fuzz(options.one, options.output, rest)
        return 0
    if rest:
        parser.error(f"unknown options {rest}")
    sys.path[:0] = [str(ROOT), str(ROOT / "test")]
    from fuzz.table import READERS

    if options.list:
        print(json.dumps({name: reader.libraries for name, reader in READERS.items()}))
        return 0
    unknown = [name for name in options.names if name not in READERS]
    if unknown:
        parser.error(f"expected readers out of {', '.join(READERS)}, found {unknown[0]!r}")
    figures = options.output / "outcomes.json"
    options.output.mkdir(parents=True, exist_ok=True)
    outcomes = json.loads(figures.read_text()) if figures.is_file() else {}
    for name in options.names or READERS:
        outcomes[name] = run_reader(name, options.seconds, options.output / READERS[name].folder)
        print(json.dumps(outcomes[name]), flush=True)
        figures.write_text(json.dumps(outcomes, indent=1))
    found = [outcomes[name] for name in READERS if name in outcomes]
    text = f"{machine()}:\n\n{table(found)}"
    print(text)
    if options.page:
        page = options.page.read_text(encoding="utf-8")
        before, _, after = page.partition(BEGIN)
        after = after.partition(END)[2]
        options.page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
    return int(any(each["findings"] for each in found))


if __name__ == "__main__":
    sys.exit(main())
