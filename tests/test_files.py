"""A file is put in place whole, or its place is left as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from gence import _files


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("before")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        _files.write_atomically(tmp_path / "file", b"after")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "before"


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    _files.write_atomically(tmp_path / "new" / "file", b"content")
    assert (tmp_path / "new" / "file").read_bytes() == b"content"
    assert len(list((tmp_path / "new").iterdir())) == 1
