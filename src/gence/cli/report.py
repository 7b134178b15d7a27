"""`gence report`: page, tables and archive again from the records of studies, and the records behind a number."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gence._errors import InputError
from gence.cli.running import report_on


def report(
    places: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="The --out folder of a study or an archive of one, or several to be joined.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for page and tables; needed with several.", show_default="that of the study"),
    ] = None,
    export: Annotated[
        bool, typer.Option("--export", help="Also write tables (LaTeX and CSV) and figures for a paper.")
    ] = False,
    archive: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write the records of the study, without logits, into one file ending in .study.gz.",
            show_default=False,
        ),
    ] = None,
    trace: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS",
            help="Print the records behind a number, and write nothing: 'data=digits loss=gence calibrator=none'.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write report.html and results.csv again from the records of a study, or of several as if they were one."""
    from gence.bench.records import check_archive, join_studies, read_study, write_archive

    if trace is not None:
        if out is not None or export or archive is not None:
            raise InputError("--trace prints and writes nothing; leave --out, --export and --archive out")
        print(*_trace(places, trace), sep="\n")
        return
    if archive is not None:
        if len(places) > 1:
            raise InputError("--archive takes one study at a time; archives are joined when they are reported on")
        check_archive(archive)
    if out is None and len(places) > 1:
        raise InputError(f"a report of {len(places)} studies needs a folder of its own; give --out")
    if out is None and places[0].is_file():
        raise InputError(f"{places[0]}: the report of an archive needs a folder of its own; give --out")
    study = join_studies([read_study(place) for place in places])
    written = None if archive is None else write_archive(places[0], archive)
    report_on(study, out or places[0], export=export)
    if written is not None:
        print(f"archive: {written}")


def _trace(places: list[Path], words: str) -> list[str]:
    from gence.bench.records import join_studies, parse_wanted, read_study, record_path
    from gence.bench.stats import summarize
    from gence.report import trace_lines

    wanted = parse_wanted(words)
    studies = [read_study(place) for place in places]
    study = join_studies(studies)
    if not study.records:
        raise InputError(f"{study.folder}: no trial has finished yet; run the study first")
    picked = wanted.pick(study.records)
    files: dict[str, Path] = {}
    for one in studies:
        for record in one.records:
            files.setdefault(record.key, record_path(one.folder, record.cell, record.key))
    return trace_lines(picked, summarize(wanted.at_seed(study)), wanted.metrics, files)
