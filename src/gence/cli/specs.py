"""`gence spec`: what a spec says once every default is filled in, and whether specs are valid."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gence._errors import InputError
from gence.bench.spec import read_spec
from gence.bench.spec_toml import spec_toml

app = typer.Typer(help="Look at specs, the TOML files that gence run takes.")

_Spec = Annotated[Path, typer.Argument(metavar="SPEC", help="A TOML file.", show_default=False)]


@app.callback(invoke_without_command=True)
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def show(spec: _Spec) -> None:
    """Print a spec with every default written out, as TOML that says the same."""
    print(spec_toml(read_spec(spec)), end="")


@app.command()
def check(
    specs: Annotated[list[Path], typer.Argument(metavar="SPEC...", help="TOML files.", show_default=False)],
) -> None:
    """Say of each spec whether it is valid, or what is wrong with it; the data are not read."""
    wrong = False
    for path in specs:
        try:
            read_spec(path)
            print(f"{path}: ok")
        except InputError as error:
            wrong = True
            print(f"gence: {error}", file=sys.stderr)
    if wrong:
        sys.exit(2)
