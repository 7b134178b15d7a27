"""The packages that gence.bench needs beside torch and numpy: fetched here, put on the path there."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("pydantic", "pydantic-core", "annotated-types", "typing-extensions", "typing-inspection")
"""In the versions that are installed where the pack is made."""

PYTHONS = ("3.11", "3.12", "3.13")
"""What the machine may have; the compiled package comes once for each."""

_PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64")


def fetch(folder: Path, pythons: Sequence[str]) -> None:
    """Download the wheels for these versions of Python on Linux, x86-64, into `folder`.

    Raises:
        subprocess.CalledProcessError: If pip cannot get one of them; it has said why.
    """
    pins = [f"{name}=={version(name)}" for name in PACKAGES]
    platforms = [word for platform in _PLATFORMS for word in ("--platform", platform)]
    for python in pythons:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += [*platforms, "--python-version", python, "--implementation", "cp", "--dest", str(folder), *pins]
        subprocess.run(command, check=True)


def fitting(names: Sequence[str]) -> list[str]:
    """Those of the wheels that this Python can import."""
    here = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return [name for name in names if name.endswith("-none-any.whl") or re.search(rf"-{here}-{here}-", name)]


def unpack(wheels: Sequence[Path], folder: Path) -> None:
    """Lay the wheels out in `folder`, from where compiled ones can be imported too."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
