"""Where a file can be put, and putting it there whole: a reader, or a run after a power cut, sees all or nothing."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gence._errors import InputError


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path`, whose folder is made if need be."""
    with whole_or_nothing(path) as temporary, open(temporary, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def whole_or_nothing(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place if nothing goes wrong and else leaves no trace."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_place(out: str | Path, *, folder: bool = False) -> None:
    """Refuse a place where no file, or with `folder` no folder, can be written, before any long work.

    Raises:
        InputError: If a folder or a file is in the way, or the permission is missing.
    """
    path = Path(out).expanduser()
    if path.is_dir() and not folder:
        raise InputError(f"{out}: this is a folder; give a file to write to")
    if folder and path.exists() and not path.is_dir():
        raise InputError(f"{out}: this is a file; give a folder to write to")
    above = next(place for place in (*([path] if folder else []), *path.parents) if place.exists())
    if not above.is_dir():
        raise InputError(f"{out}: '{above}' is a file, not a folder; give another place to write to")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"{out}: no permission to write in '{above}'; change that, or give another place")
