"""Every reader of the table gives a result or one of its errors, whatever the bytes are.

`make fuzz` looks for further inputs; what it found lies in `found/`.
"""

import zlib
from pathlib import Path

import pytest

pytest.importorskip("rosbags", reason="bags are read with rosbags: pip install '.[bag]'")
pytest.importorskip("torch", reason="checkpoints are read with torch: pip install '.[train]'")
pytest.importorskip("onnx", reason="models are made with onnx: pip install '.[onnx]'")

from fuzz.mutations import mutated
from fuzz.table import READERS

FOUND = Path(__file__).with_name("found")
MUTATIONS = 200


@pytest.fixture(scope="module", params=READERS)
def row(request):
    """A row of the table, and its valid inputs."""
    reader = READERS[request.param]
    return reader, reader.seeds()


def test_seeds_reach_the_reader(row):
    """At least one seed is read without an error: the harness is not stuck at the first byte."""
    reader, seeds = row
    errors = [reader.attempt(seed) for seed in seeds]
    assert None in errors, errors


def test_mutated_seeds_give_a_result_or_an_error_of_ours(row):
    reader, seeds = row
    for data in mutated(seeds, MUTATIONS, zlib.crc32(reader.name.encode())):
        reader.attempt(data)


@pytest.mark.parametrize("path", sorted(FOUND.glob("*/*")), ids=lambda path: path.name)
def test_what_the_fuzzer_found_gives_a_result_or_an_error_of_ours(path):
    (reader,) = (each for each in READERS.values() if each.folder == path.parent.name)
    reader.attempt(path.read_bytes())
