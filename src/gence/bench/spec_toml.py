"""A resolved spec as TOML: every key with its value, which reads back to the same spec."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gence.bench.spec import Spec


def spec_toml(spec: Spec) -> str:
    """The spec with every default written out; a key that has no value stands in a comment.

    >>> from gence.bench.spec import parse_spec
    >>> print(spec_toml(parse_spec({"data": "digits", "losses": "ce"}, "here")).splitlines()[1])
    data = ["digits"]
    """
    return "\n".join(_lines(spec.model_dump(mode="json"))) + "\n"


def _lines(table: Mapping[str, Any], place: str = "") -> Iterator[str]:
    # What stands below the head of a table belongs to it, so tables come last.
    for key, value in table.items():
        if value is None:
            yield f"# {key} is not set"
        elif not isinstance(value, dict):
            yield f"{key} = {_value(value)}"
    for key, value in table.items():
        if isinstance(value, dict):
            yield f"\n[{place}{key}]"
            yield from _lines(value, f"{place}{key}.")


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        # A JSON text is a TOML text, but for one letter that JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
