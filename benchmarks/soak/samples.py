"""The state of the node after each fault: figures, table and plot."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from training.tables import markdown_table


class Sample(NamedTuple):
    """The node after a fault, and what became of the frames around it.

    Attributes:
        rss_mb: Resident memory, with the shared memory that is mapped.
        p50_periods, p99_periods: Stamp to arrival without fault, in frame periods.
    """

    minute: float
    fault: str
    rss_mb: float
    threads: int
    files: int
    p50_periods: float
    p99_periods: float
    published: int
    ends: dict[str, int]
    failure: str = ""


def resources(pid: int) -> tuple[float, int, int]:
    """Return resident memory in MB, threads and open files of a process (Linux)."""
    text = Path(f"/proc/{pid}/status").read_text()
    lines = dict(line.split(":", 1) for line in text.splitlines())
    files = len(os.listdir(f"/proc/{pid}/fd"))
    return int(lines["VmRSS"].split()[0]) / 1024, int(lines["Threads"]), files


def slope(samples: list[Sample], skipped: float = 0.25) -> float:
    """Return the growth of memory in MB a minute, without the first part of the time."""
    minutes = np.array([sample.minute for sample in samples])
    later = minutes >= skipped * minutes[-1]
    rss_mb = np.array([sample.rss_mb for sample in samples])
    return float(np.polyfit(minutes[later], rss_mb[later], 1)[0])


def percentiles(latencies_s: list[float], rate_hz: float) -> tuple[float, float]:
    """Return p50 and p99 in frame periods."""
    if not latencies_s:
        return float("nan"), float("nan")
    p50, p99 = np.percentile(latencies_s, (50, 99)) * rate_hz
    return float(p50), float(p99)


def report(samples: list[Sample]) -> str:
    ends: Counter[str] = Counter()
    for sample in samples:
        for end, count in sample.ends.items():
            ends[end.partition(":")[0]] += count
    published = sum(sample.published for sample in samples)
    first, last = samples[len(samples) // 4], samples[-1]
    quarter = max(1, len(samples) // 4)
    p99 = [sample.p99_periods for sample in samples if sample.p99_periods == sample.p99_periods]
    rows: dict[str, list[object]] = {
        "length": [f"{last.minute:.0f} minutes, {len(samples)} faults"],
        "faults that broke something": [str(sum(bool(s.failure) for s in samples))],
        "visible frames published around the faults": [str(published)],
        "  of them fused, passed, dropped, lost": [
            ", ".join(str(ends[end]) for end in ("fused", "passed", "dropped", "lost"))
        ],
        "  of them without account": [str(published - sum(ends.values()))],
        "growth of memory after a quarter, a half, three quarters of the time": [
            ", ".join(f"{slope(samples, skipped):+.2f}" for skipped in (0.25, 0.5, 0.75))
            + " MB a minute"
        ],
        "memory after the first quarter, at the end": [
            f"{first.rss_mb:.0f}, {last.rss_mb:.0f} MB"
        ],
        "threads after the first quarter, at the end": [f"{first.threads}, {last.threads}"],
        "open files after the first quarter, at the end": [f"{first.files}, {last.files}"],
        "p99 without fault, first and last quarter": [
            f"{np.median(p99[:quarter]):.2f}, {np.median(p99[-quarter:]):.2f} frame periods"
        ],
    }
    return markdown_table(("found",), rows, corner="soak")


def draw(samples: list[Sample], path: Path) -> None:
    """Draw memory, threads and files, and latency over the time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True)
    minutes = [sample.minute for sample in samples]
    axes[0].plot(minutes, [sample.rss_mb or np.nan for sample in samples], lw=1)
    axes[0].set_ylabel("memory, MB")
    axes[0].set_ylim(bottom=0)
    axes[1].plot(minutes, [sample.threads for sample in samples], lw=1, label="threads")
    axes[1].plot(minutes, [sample.files for sample in samples], lw=1, label="open files")
    axes[1].legend(loc="lower right", fontsize="small", ncols=2)
    axes[1].set_ylim(bottom=0)
    axes[2].plot(minutes, [sample.p99_periods for sample in samples], ".", ms=2, label="p99")
    axes[2].plot(minutes, [sample.p50_periods for sample in samples], ".", ms=2, label="p50")
    axes[2].set_yscale("log")
    axes[2].set_ylabel("frame periods")
    axes[2].legend(loc="upper right", fontsize="small", ncols=2)
    axes[2].set_xlabel("minute")
    for each in axes:
        each.grid(alpha=0.3)
    figure.savefig(path, dpi=80)
