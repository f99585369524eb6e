"""What is run from the cache, what is not, and the reason that is given."""

import json
import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from irvis_fusion_core.backends.engine_cache import EngineCache, EngineKey, default_cache_dir
from irvis_fusion_core.errors import ConfigurationError

KEY = EngineKey(
    model="nano_fp16",
    onnx_sha256="ab" * 32,
    engine_module="tensorrt",
    engine_version="10.3.0",
    gpu="Orin",
    compute_capability="8.7",
    precision="fp16",
    height=480,
    width=640,
    options={"builder_revision": 1},
)
ENGINE = b"an engine" * 100


@pytest.fixture
def cache(tmp_path):
    return EngineCache(str(tmp_path / "engines"))


def test_gives_back_what_was_stored(cache):
    assert cache.load(KEY)[0] is None
    path = cache.store(KEY, ENGINE, 12.34, "there was none")
    assert path == cache.path(KEY)
    assert cache.load(KEY) == (ENGINE, "found in the cache")
    with open(path + ".json") as stream:
        facts = json.load(stream)
    assert facts["key"] == KEY._asdict()
    assert facts["built_because"] == "there was none" and facts["build_seconds"] == 12.3
    assert sorted(os.listdir(cache.directory)) == sorted(
        [os.path.basename(path), os.path.basename(path) + ".json"]
    ), "no temporary file is left"


@pytest.mark.parametrize(
    "field, value",
    [
        ("onnx_sha256", "cd" * 32),
        ("engine_module", "tensorrt_rtx"),
        ("engine_version", "10.5.0"),
        ("gpu", "Orin Nano"),
        ("compute_capability", "8.9"),
        ("precision", "int8"),
        ("height", 512),
        ("width", 512),
        ("options", {"builder_revision": 2}),
    ],
)
def test_every_part_of_the_key_counts_and_is_named(cache, field, value):
    cache.store(KEY, ENGINE, 1.0, "first")
    engine, reason = cache.load(KEY._replace(**{field: value}))
    assert engine is None
    assert f"{field} was {getattr(KEY, field)}, is now {value}" in reason


def test_names_the_difference_to_the_nearest(cache):
    cache.store(KEY._replace(engine_version="8.5.2", height=256), ENGINE, 1.0, "first")
    cache.store(KEY._replace(engine_version="10.2.0"), ENGINE, 1.0, "second")
    reason = cache.load(KEY)[1]
    assert "10.2.0" in reason and "8.5.2" not in reason and "height" not in reason


def test_another_model_is_no_neighbour(cache):
    cache.store(KEY._replace(model="base_fp32"), ENGINE, 1.0, "first")
    assert "no engine of nano_fp16" in cache.load(KEY)[1]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(position=st.integers(0, len(ENGINE) - 1), mask=st.integers(1, 255))
def test_one_changed_byte_is_enough(cache, position, mask):
    path = cache.store(KEY, ENGINE, 1.0, "first")
    changed = bytearray(ENGINE)
    changed[position] ^= mask
    with open(path, "wb") as stream:
        stream.write(changed)
    engine, reason = cache.load(KEY)
    assert engine is None and "sha256 differs" in reason


@pytest.mark.parametrize(
    "record",
    [b"", b"{", b"[]", b"\xff\xfe", b"{}", b"[" * 100_000, b'{"key":' * 900 + b"1" + b"}" * 900],
    ids=["empty", "cut", "list", "bytes", "{}", "deep list", "deep key"],
)
def test_a_damaged_record_is_not_trusted(cache, record):
    path = cache.store(KEY, ENGINE, 1.0, "first")
    with open(path + ".json", "wb") as stream:
        stream.write(record)
    engine, reason = cache.load(KEY)
    assert engine is None and reason.startswith("the cached engine is not used, because")
    other = KEY._replace(gpu="Orin Nano")  # for which every record is looked at
    assert cache.load(other)[1].startswith("there is no engine of")


def test_an_engine_under_another_keys_name_is_not_run(cache):
    other = KEY._replace(gpu="Orin Nano")
    path = cache.store(other, ENGINE, 1.0, "first")
    for ending in ("", ".json"):
        os.rename(path + ending, cache.path(KEY) + ending)
    engine, reason = cache.load(KEY)
    assert engine is None and "its key in the JSON is another" in reason


def test_an_engine_without_record_is_not_run(cache):
    os.unlink(cache.store(KEY, ENGINE, 1.0, "first") + ".json")
    assert cache.load(KEY)[0] is None


def test_a_link_is_not_followed(cache, tmp_path):
    path = cache.store(KEY, ENGINE, 1.0, "first")
    os.rename(path, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", path)
    assert cache.load(KEY)[0] is None


def test_a_file_that_others_may_write_is_not_run(cache):
    path = cache.store(KEY, ENGINE, 1.0, "first")
    os.chmod(path, 0o666)
    engine, reason = cache.load(KEY)
    assert engine is None and "others may write to it (mode 0666)" in reason


def test_a_pipe_does_not_hang(cache):
    path = cache.store(KEY, ENGINE, 1.0, "first")
    os.unlink(path)
    os.mkfifo(path, 0o600)
    engine, reason = cache.load(KEY)
    assert engine is None and "not a regular file" in reason


def test_a_file_of_somebody_else_is_not_run(cache, monkeypatch):
    cache.store(KEY, ENGINE, 1.0, "first")
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    engine, reason = cache.load(KEY)
    assert engine is None and f"user {me} owns it" in reason


def test_a_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    with pytest.raises(ConfigurationError, match=f"user {me} owns it"):
        EngineCache(str(tmp_path))


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can give files away")
def test_a_folder_given_to_somebody_else_is_refused(tmp_path):
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(ConfigurationError, match="user 12345 owns it"):
        EngineCache(str(tmp_path))


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_folder_that_others_may_write_is_refused(tmp_path, mode):
    os.chmod(tmp_path, mode)
    with pytest.raises(ConfigurationError, match="others may write to it.*chmod 700"):
        EngineCache(str(tmp_path))


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    place = tmp_path / "engines"
    place.write_text("")
    with pytest.raises(ConfigurationError, match="engines"):
        EngineCache(str(place))
    with pytest.raises(ConfigurationError, match="another cache_dir"):
        EngineCache(str(place / "below"))


def test_folders_are_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        EngineCache(str(tmp_path / "a" / "b"))
    finally:
        os.umask(before)
    for folder in (tmp_path / "a", tmp_path / "a" / "b"):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700


def test_the_default_follows_the_xdg_standard(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == str(tmp_path / "irvis_fusion" / "engines")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache_dir() == str(tmp_path / "home" / ".cache" / "irvis_fusion" / "engines")


def test_a_crash_while_writing_leaves_the_old_engine(cache, monkeypatch):
    cache.store(KEY, ENGINE, 1.0, "first")

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError):
        cache.store(KEY, b"another", 1.0, "second")
    assert cache.load(KEY)[0] == ENGINE
    assert not [name for name in os.listdir(cache.directory) if name.startswith(".writing_")]
