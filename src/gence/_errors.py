"""What a person who typed something wrong gets to read: one line with the thing, the expectation and the cure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Something given by the user cannot be used; the message is one line and says how to mend it.

    The command line prints the message and exits with status 2. Programs may catch it as a `ValueError`.
    """


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` most resembles, or None when it resembles none of them."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    found = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[found[0]] if found else None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a catalogue; it offers the nearest one and lists them all.

    >>> print(unknown_name("loss", "focl", ["ce", "focal"]))
    unknown loss 'focl': did you mean 'focal'? known: ce, focal
    """
    known = list(known)
    guess = nearest(name, known)
    hint = f": did you mean {guess!r}? known: " if guess else "; known: "
    return InputError(f"unknown {kind} {name!r}{hint}{', '.join(known)}")
