"""`gence list`: what can be named in commands and specs, a line each."""

from __future__ import annotations

from typing import Annotated

import typer

from gence.bench.catalogues import KINDS, lines


def list_names(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help=f"{', '.join(KINDS[:-1])} or {KINDS[-1]}.", show_default=False)
    ],
) -> None:
    """List the losses, models, data sets, regimes or calibrators by name, with the paper each is from."""
    found = lines(what)
    name, title = (max(len(getattr(line, part)) for line in found) for part in ("name", "title"))
    for line in found:
        print(f"{line.name:<{name}}  {line.title:<{title}}  {line.reference}".rstrip())
