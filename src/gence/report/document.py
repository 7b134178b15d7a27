"""A page as one file that needs nothing beside it: a template with the style and the script that all pages share."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from gence._files import write_atomically


def write_document(template: str, context: dict[str, Any], path: Path) -> Path:
    """Fill a template of this folder and put it at `path`, whole or not at all.

    The page loads nothing, from the network or from disk, and runs one script only, which it names by its hash.
    """
    environment = Environment(
        loader=FunctionLoader(_asset), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    script = _asset("page.js")
    environment.globals |= {
        "style": Markup(_asset("page.css")),
        "script": Markup(script),
        # Names from data are escaped; should one slip through all the same, the browser still refuses to run it.
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "svg": Markup,
    }
    write_atomically(path, environment.get_template(template).render(context).encode())
    return path


def _asset(name: str) -> str:
    return files("gence.report").joinpath(name).read_text(encoding="utf-8")
