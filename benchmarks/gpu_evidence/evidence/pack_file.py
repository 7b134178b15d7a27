"""The pack: a folder with a manifest, images and wheels, every file of it under its sha256."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evidence import codec
from gence._errors import InputError
from gence._files import write_atomically
from gence.data import LabelledData

VERSION = 1
MANIFEST = "manifest.json"
WHEELS = "wheels"
_CURE = "copy the pack again, or make it again with pack.py"


@dataclass(frozen=True)
class Pack:
    """A pack whose manifest has been read.

    Attributes:
        folder: Where it lies.
        manifest: What `write_pack` wrote.
    """

    folder: Path
    manifest: dict[str, Any]

    @property
    def specs(self) -> tuple[str, ...]:
        """The names of the specs that it was made for, in the order in which they matter."""
        return tuple(self.manifest["specs"])

    def images(self, about: dict[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The images of a part of the manifest, and the other arrays of its file.

        Raises:
            InputError: If the file is damaged.
        """
        with np.load(io.BytesIO(self.content(about["file"])), allow_pickle=False) as file:
            arrays = dict(file)
        ends = np.cumsum(arrays.pop("lengths"))
        code = arrays.pop("code")
        blocks = [code[start:end].tobytes() for start, end in zip((0, *ends), ends, strict=False)]
        height, width = arrays.pop("size").tolist()
        images = codec.decode(blocks, (height, width))
        if sha256(images.tobytes()) != about["pixels_sha256"]:
            raise InputError(f"{self.folder / about['file']}: other images came out than went in; {_CURE}")
        return images, arrays

    def content(self, name: str) -> bytes:
        """The bytes of a file of the pack.

        Raises:
            InputError: If it is missing, or not as it was written.
        """
        path = self.folder / name
        if not path.is_file():
            raise InputError(f"{path}: this file of the pack is missing; {_CURE}")
        content = path.read_bytes()
        if sha256(content) != self.manifest["files"].get(name):
            raise InputError(f"{path}: the file is damaged, its sha256 is not that of the manifest; {_CURE}")
        return content


def open_pack(folder: Path) -> Pack:
    """Read the manifest of a pack.

    Raises:
        InputError: If there is none, or one of another version.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        version = manifest["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: no pack is here, its {MANIFEST} cannot be read; {_CURE}") from error
    if version != VERSION:
        raise InputError(f"{folder}: a pack of version {version!r}, this is for version {VERSION}; {_CURE}")
    return Pack(folder, manifest)


def write_pack(
    folder: Path,
    specs: Sequence[str],
    data: dict[str, tuple[LabelledData, np.ndarray]],
    foreign: dict[str, dict[str, np.ndarray]],
) -> Pack:
    """Write the manifest and the images; wheels that lie in the folder `wheels` are entered as they are.

    Args:
        folder: Of the pack.
        specs: Names of the specs that it is for.
        data: By source, data whose test rows come last, and the numbers of the rows to pack, test rows among them.
        foreign: By source, the images that are foreign to it, by the name of their set.
    """
    about: dict[str, Any] = {}
    files = {}

    def write(name: str, content: bytes) -> str:
        write_atomically(folder / name, content)
        files[name] = sha256(content)
        return name

    for source, (one, rows) in data.items():
        assert one.test_rows is not None, "the test rows are the last ones"
        stem = source.replace("/", "-")
        about[source] = {
            "name": one.name,
            "identity": one.fingerprint,
            "class_names": list(one.class_names),
            "notes": list(one.notes),
            "pool": len(one.labels) - len(one.test_rows),
            "rows": rows.tolist(),
            "file": write(f"{stem}.npz", _npz(one.inputs[rows], labels=one.labels.astype(np.int16))),
            "pixels_sha256": sha256(one.inputs[rows].tobytes()),
            "foreign": {
                name: {
                    "file": write(f"{stem}-foreign-{name.replace('/', '-')}.npz", _npz(images)),
                    "pixels_sha256": sha256(images.tobytes()),
                }
                for name, images in foreign.get(source, {}).items()
            },
        }
    files |= {f"{WHEELS}/{path.name}": sha256(path.read_bytes()) for path in sorted(folder.glob(f"{WHEELS}/*.whl"))}
    manifest = {"version": VERSION, "specs": list(specs), "data": about, "files": files}
    write_atomically(folder / MANIFEST, json.dumps(manifest).encode())
    return Pack(folder, manifest)


def sha256(content: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _npz(images: np.ndarray, **arrays: np.ndarray) -> bytes:
    blocks = codec.encode(images)
    buffer = io.BytesIO()
    contents: dict[str, Any] = {
        "code": np.frombuffer(b"".join(blocks), np.uint8),
        "lengths": np.array([len(block) for block in blocks]),
        "size": np.array(images.shape[2:]),
        **arrays,
    }
    np.savez(buffer, **contents)
    return buffer.getvalue()
