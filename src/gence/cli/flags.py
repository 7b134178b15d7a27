"""What several commands have in common: flags, and what their words stand for."""

from __future__ import annotations

from typing import Annotated

import typer

from gence._errors import InputError

DataRoot = Annotated[
    str | None,
    typer.Option(
        "--data-root",
        help="Folder that named data sets lie in.",
        show_default="the Hugging Face hub and its cache",
    ),
]


def words(text: str) -> list[str]:
    """What stands between the commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def augmentations(text: str) -> str | list[str]:
    """What --augment says: "auto", or names.

    Raises:
        InputError: If a word that stands alone does not.
    """
    named = words(text)
    alone = [word for word in named if word in ("none", "auto")]
    if not named or (alone and len(named) > 1):
        got = f"{alone[0]!r} stands alone" if alone else "it is empty"
        raise InputError(f"--augment: crop, flip, both separated by a comma, none, or auto, is expected; {got}")
    return "auto" if alone == ["auto"] else [] if alone else named
