"""Counts and lists as the notes and one-line messages of this package write them."""

from __future__ import annotations

from collections.abc import Iterable


def counted(count: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "row"), counted(3, "class")
    ('1 row', '3 classes')
    """
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count} {noun}{ending}"


def listing(names: Iterable[object], most: int = 12) -> str:
    """Names in one line, the long tail counted instead of written.

    >>> listing(["age", "fare", "sex"], most=2)
    'age, fare and 1 more'
    """
    names = [one_line(name) for name in names]
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def one_line(text: object) -> str:
    r"""The first line that says anything, without control characters: other libraries' messages run over several.

    >>> one_line(ValueError("broken page\n  at byte 4"))
    'broken page'
    >>> one_line("cat\x1b\x07")
    'cat'
    """
    lines = str(text).strip().splitlines()
    return "".join(letter for letter in lines[0] if letter.isprintable()) if lines else type(text).__name__
