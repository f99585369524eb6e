"""Page faults with and without, counted by the kernel, in processes of their own."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from irvis_fusion_ros.node.malloc_tuning import USERS_OWN

COUNT = """
import resource, sys, threading
import numpy as np
from irvis_fusion_ros.node.malloc_tuning import keep_freed_memory
print(sys.argv[1] == "keep" and keep_freed_memory())
def frame():
    return [np.ones(size, np.uint8) for size in (900_000, 3_000_000, 900_000)]
def on_a_thread():
    thread = threading.Thread(target=frame)
    thread.start()
    thread.join()
run = on_a_thread if "threads" in sys.argv else frame
frame()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    run()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def count(*how, **environment):
    values = {name: value for name, value in os.environ.items() if name not in USERS_OWN}
    root = str(Path(__file__).resolve().parents[3])
    done = subprocess.run(
        [sys.executable, "-c", COUNT, *how],
        env=dict(values, PYTHONPATH=root, **environment),
        stdout=subprocess.PIPE,
        check=True,
    )
    kept, faults = done.stdout.split()
    return kept == b"True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's malloc")
def test_images_are_not_paged_in_again_at_each_frame():
    kept, faults = count("keep")
    assert kept
    # 20 frames of 4.8 MB in pages of 4 KB are 23,000 faults; a page twice as large, half of them.
    assert faults < 500
    assert count("plain")[1] > 4 * faults


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's malloc")
def test_what_one_thread_freed_serves_the_others():
    kept, faults = count("keep", "threads")
    assert kept
    assert faults < 1000  # the stacks of 20 threads are among them
    assert count("plain", "threads")[1] > 4 * faults


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's malloc")
def test_a_user_who_has_set_the_allocator_is_left_alone():
    assert not count("keep", MALLOC_TRIM_THRESHOLD_="1000000")[0]
