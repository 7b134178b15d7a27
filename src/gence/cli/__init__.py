"""The command line: it reads flags, calls one function a command, and says how it went. No logic lives here."""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any, NoReturn

try:
    import typer

    from gence import __version__
    from gence._errors import InputError
    from gence.cli import catalogues, classifier, predictions, report, specs, study
except ModuleNotFoundError as error:
    sys.exit(f"gence: the command line needs {error.name}; install it with: pip install 'gence[lab]'")

app = typer.Typer(
    help="Which training loss and which calibrator give honest probabilities on my data?",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    study.compare,
    study.run,
    report.report,
    classifier.fit,
    classifier.predict,
    predictions.audit,
    predictions.calibrate,
    predictions.apply,
):
    app.command()(command)
app.add_typer(specs.app, name="spec")
app.command("list")(catalogues.list_names)

# typer carries its own copy of click; the base of its public BadParameter is the error for everything mistyped.
_UsageError: Any = typer.BadParameter.__base__


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        print(f"gence {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def main() -> NoReturn:
    """Run the command line; bad input is one line on standard error and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a minus sign or a name gets a question mark, not a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except _UsageError as error:
        _stop(error.format_message())
    except InputError as error:
        _stop(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "gence").startswith("gence"):
            raise
        _stop(f"this command needs {error.name}; install it with: pip install 'gence[lab]'")
    except OSError as error:
        # A full disk or a folder without permission: the system's own words are the clearest.
        _stop(f"{error.filename or 'the study'}: {error.strerror or error}")
    except MemoryError:
        _stop("there is not enough memory for this; try fewer --workers, smaller images or fewer rows")
    except typer.Abort:
        sys.exit(130)


def _stop(message: str) -> NoReturn:
    # A control character in a name could move the cursor or clear the screen.
    line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(message.split()))
    print(f"gence: {line}", file=sys.stderr)
    sys.exit(2)
