"""What was asked for, as every reader gets it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """One call of `load`.

    Attributes:
        source: The source as it was typed; messages begin with it.
        name: What the report calls the data.
        target: The column that holds the label, if given.
        image_size: The side to resize image files to, if given.
        test_only: Whether the test split alone is wanted; it is then read as if it were all there is.
    """

    source: str
    name: str
    target: str | None = None
    image_size: int | None = None
    test_only: bool = False
