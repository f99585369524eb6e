"""`fuse_bag --resume`: the messages of an uninterrupted run, without fusing its frames again."""

import os
import resource
import signal
import struct

import numpy as np
import pytest
from bag_recording import STORAGES, needs_rosbags
from made_bags import ReferenceFusion, make_bag, read_whole, write_pairs

from irvis_fusion_ros.bags.bag_place import count_readable
from irvis_fusion_ros.commands import fuse_bag

pytestmark = needs_rosbags
OPENED = "irvis_fusion_ros.bags.replay.offline_fusion.open_fusion"


class KilledFusion(ReferenceFusion):
    """Ends at frame `ends_at`. Its brightness varies a little, which the limiter takes back."""

    def __init__(self, ends_at=None, how=KeyboardInterrupt, name="reference"):
        super().__init__()
        self.ends_at, self.how, self.name = ends_at, how, name

    def fuse_frame(self, ir, vis, order="rgb", out=None):
        if len(self.pairs) == self.ends_at:
            if self.how is os.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise self.how
        fused = super().fuse_frame(ir, vis, order).astype(int)
        wave = 5 * (int(vis[0, 0, 0]) % 3)
        return np.clip(fused + wave, 0, 255).astype(np.uint8)

    def describe(self):
        return {**super().describe(), "model": self.name}


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """3 s; the thermal camera is slower, has counts, and is away for a while."""
    folder = tmp_path_factory.mktemp("resume")
    pairs = write_pairs(folder / "pairs")
    options = {"ir_rate_hz": 9.0, "ir_encoding": "mono16", "ir_gaps": ((1.0, 2.0),)}
    return make_bag(folder / "bag", pairs, 3.0, **options)


@pytest.fixture
def engine(monkeypatch):
    """Let the next run have this engine."""

    def use(*arguments, **options):
        fusion = KilledFusion(*arguments, **options)
        monkeypatch.setattr(OPENED, lambda settings, progress: fusion)
        return fusion

    return use


def fuse(bag, output, *options):
    arguments = [bag, "--output", str(output), "--quiet", "--with-diagnostics", "--with-ir"]
    return fuse_bag.main([*arguments, *options])


@pytest.mark.parametrize("limit", ["true", "false"])
@pytest.mark.parametrize("storage", STORAGES)
def test_an_interrupted_run_goes_on(tmp_path, bag, engine, storage, limit):
    options = ("--storage", storage, "-p", f"limit_flicker:={limit}")
    whole = engine()
    assert fuse(bag, tmp_path / "whole", *options) == 0
    engine(30)
    assert fuse(bag, tmp_path / "fused", *options) == 130
    assert not (tmp_path / "fused").exists()
    rest = engine()
    assert fuse(bag, tmp_path / "fused", *options, "--resume") == 0
    assert read_whole(tmp_path / "fused") == read_whole(tmp_path / "whole")
    # At most what the frames before could not be written for is fused again.
    assert len(whole.pairs) - 30 <= len(rest.pairs) < len(whole.pairs) - 20
    assert not (tmp_path / "fused.part").exists()


@pytest.mark.parametrize("storage", STORAGES)
def test_a_run_that_is_killed_again_and_again_goes_on(tmp_path, bag, engine, storage):
    engine()
    assert fuse(bag, tmp_path / "whole") == 0
    kept = []
    for ends_at in (40, 5, 0, 8):  # frames that each run fuses itself
        engine(ends_at, os.kill)
        child = os.fork()
        if not child:
            fuse(bag, tmp_path / "fused", "--storage", storage, "--resume")
            os._exit(0)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
        part = tmp_path / "fused.part"
        kept.append(max(count_readable(str(part / name)) for name in ("fused", ".before")))
    assert kept == sorted(kept) and (storage == "mcap" or kept[0] > 0)
    engine()
    assert fuse(bag, tmp_path / "fused", "--storage", storage, "--resume") == 0
    assert read_whole(tmp_path / "fused") == read_whole(tmp_path / "whole")


def test_after_a_full_disk_the_advice_is_the_remedy(tmp_path, bag, engine, capsys):
    engine()
    assert fuse(bag, tmp_path / "whole") == 0
    engine()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))
    try:
        assert fuse(bag, tmp_path / "fused") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said = capsys.readouterr().err
    assert "start again with --resume" in said
    count = count_readable(str(tmp_path / "fused.part" / "fused"))
    assert count > 50 and f"({count} messages are kept in " in said
    rest = engine()
    assert fuse(bag, tmp_path / "fused", "--resume") == 0
    assert read_whole(tmp_path / "fused") == read_whole(tmp_path / "whole")
    assert len(rest.pairs) < 45


def test_what_cannot_be_written_beside_the_bag_is_an_error_with_advice(
    tmp_path, bag, engine, capsys
):
    engine(30)
    assert fuse(bag, tmp_path / "fused") == 130
    levels = tmp_path / "fused.part" / ".levels"
    levels.rename(levels.with_suffix(".kept"))
    levels.symlink_to(tmp_path / "missing" / "levels")
    engine()
    assert fuse(bag, tmp_path / "fused", "--resume") == 1
    assert "make it writable, and start again with --resume" in capsys.readouterr().err
    levels.unlink()
    levels.with_suffix(".kept").rename(levels)
    engine()
    assert fuse(bag, tmp_path / "fused", "--resume") == 0  # the advice


@pytest.mark.parametrize("head", [(1, 0xFFFFFFFF, 0xFFFFFFFF), (1, 2, 3), (0, 0, 0)])
def test_damaged_states_of_the_limiter_cost_only_time(tmp_path, bag, engine, head):
    engine()
    assert fuse(bag, tmp_path / "whole") == 0
    engine(30)
    assert fuse(bag, tmp_path / "fused") == 130
    levels = tmp_path / "fused.part" / ".levels"
    levels.write_bytes(struct.pack("<QII", *head) + bytes(24) + levels.read_bytes())
    engine()
    assert fuse(bag, tmp_path / "fused", "--resume") == 0
    assert read_whole(tmp_path / "fused") == read_whole(tmp_path / "whole")


def test_another_run_is_refused_and_its_messages_stay(tmp_path, bag, engine, capsys):
    engine(30)
    assert fuse(bag, tmp_path / "fused") == 130
    before = count_readable(str(tmp_path / "fused.part" / "fused"))
    engine()
    assert fuse(bag, tmp_path / "fused", "--resume", "-p", "pairing:=pair") == 1
    assert "found another parameter; start again without --resume" in capsys.readouterr().err
    engine(name="another")
    assert fuse(bag, tmp_path / "fused", "--resume") == 1
    assert "another engine" in capsys.readouterr().err
    assert count_readable(str(tmp_path / "fused.part" / "fused")) == before
    engine()
    assert fuse(bag, tmp_path / "fused") == 0  # the advice


def test_nothing_to_resume_is_a_run_from_the_beginning(tmp_path, bag, engine):
    fusion = engine()
    assert fuse(bag, tmp_path / "fused", "--resume") == 0
    assert len(fusion.pairs) > 50


def test_images_that_are_not_there_in_full_are_fused_again(tmp_path, bag, engine):
    option = ["--transport", "compressed"]
    whole = engine()
    assert fuse(bag, tmp_path / "whole", *option) == 0
    engine(30)
    assert fuse(bag, tmp_path / "fused", *option) == 130
    again = engine()
    assert fuse(bag, tmp_path / "fused", "--resume", *option) == 0
    assert read_whole(tmp_path / "fused") == read_whole(tmp_path / "whole")
    assert len(again.pairs) == len(whole.pairs)


@pytest.mark.parametrize("room", [0, 3000])
@pytest.mark.parametrize("storage", STORAGES)
def test_a_disk_that_is_still_full_does_not_cost_what_is_kept(
    tmp_path, bag, engine, capsys, storage, room
):
    option = ("--storage", storage)
    engine()
    assert fuse(bag, tmp_path / "whole", *option) == 0
    engine(30)
    assert fuse(bag, tmp_path / "fused", *option) == 130
    engine()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        assert fuse(bag, tmp_path / "fused", *option, "--resume") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    rest = engine()
    assert fuse(bag, tmp_path / "fused", *option, "--resume") == 0
    assert read_whole(tmp_path / "fused") == read_whole(tmp_path / "whole")
    assert len(rest.pairs) < 40
