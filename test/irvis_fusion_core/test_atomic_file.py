"""A file is the old one or the whole new one, whatever happens in between."""

import os

import pytest

from irvis_fusion_core.atomic_file import replacing, write_file


def test_text_and_bytes_are_read_back_from_a_folder_made_for_them(tmp_path):
    write_file(tmp_path / "new" / "a.txt", "grün")
    write_file(tmp_path / "new" / "b.bin", b"\x00\xff")
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "grün"
    assert (tmp_path / "new" / "b.bin").read_bytes() == b"\x00\xff"


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_a_new_file_follows_the_umask_unless_a_mode_is_given(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_file(tmp_path / "shared.txt", "x")
        write_file(tmp_path / "private.txt", "x", mode=0o600)
    finally:
        os.umask(before)
    modes = [(tmp_path / f"{name}.txt").stat().st_mode & 0o777 for name in ("shared", "private")]
    assert modes == [0o666 & ~umask, 0o600]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "kept.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert [file.name for file in tmp_path.iterdir()] == ["kept.txt"]
    assert path.read_text() == "old"


def test_the_new_file_keeps_the_mode_and_the_temporary_one_the_suffix(tmp_path):
    path = tmp_path / "private.png"
    path.write_text("old")
    path.chmod(0o600)
    with replacing(path) as temporary:
        assert temporary.suffix == ".png" and temporary.parent == tmp_path
        temporary.write_text("new")
    assert path.read_text() == "new" and path.stat().st_mode & 0o777 == 0o600


def test_a_place_that_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError):
        write_file(tmp_path / "file" / "below", "text")
