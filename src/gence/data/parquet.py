"""A .parquet file, or a folder of such files split and sharded as Hugging Face lays them out."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gence._errors import InputError
from gence.data.arrow import ArrowSplit, arrow_data
from gence.data.dataset import LabelledData
from gence.data.request import Request
from gence.data.splits import TRAIN, ChosenSplits, choose_splits
from gence.data.wording import listing, one_line

if TYPE_CHECKING:
    import pyarrow as pa

_READ_BYTES = 1 << 18
_OF = re.compile(r"-(\d+)-of-(\d+)")


def read_parquet_file(path: Path, request: Request) -> LabelledData:
    """Read one file: a table, or images if a column holds them.

    Raises:
        InputError: If the file is damaged, or its columns cannot be used.
    """
    return arrow_data([_split(TRAIN, [path])], request)


def read_parquet_folder(files: Sequence[Path], request: Request) -> LabelledData:
    """Read `files`, named SPLIT-00000-of-00001.parquet, where SPLIT is train, test or validation.

    Raises:
        InputError: If a shard is missing or damaged, or the columns cannot be used.
    """
    chosen, shards = _series(files, request)
    for split in chosen.wanted(request.test_only):
        _demand_one_series(shards[split])
    splits = [_split(split, shards[split]) for split in chosen.wanted(request.test_only)]
    return arrow_data(splits, request, chosen.notes)


def parquet_splits(files: Sequence[Path], request: Request) -> tuple[list[ArrowSplit], tuple[str, ...]]:
    """Of new rows: the splits that `read_parquet_folder` reads, or every file where none is to be trained on.

    Raises:
        InputError: If a shard is missing or damaged.
    """
    names = {_split_name(file) for file in files}
    if len(names) > 1 and TRAIN not in map(str.lower, names):
        return [_split(file.name, [file]) for file in files], ()
    if len(names) == 1 and not any(_OF.search(file.stem) for file in files):
        return [_split(file.name, [file]) for file in files], ()
    chosen, shards = _series(files, request)
    for split in chosen.used:
        _demand_one_series(shards[split])
    return [_split(split, shards[split]) for split in chosen.used], chosen.notes[: bool(chosen.unused)]


def files_of_splits(files: Sequence[Path], request: Request) -> list[Path]:
    """Those of the files that `read_parquet_folder` reads: those of the splits it chooses."""
    chosen, shards = _series(files, request)
    return [file for split in chosen.wanted(request.test_only) for file in shards[split]]


def _series(files: Sequence[Path], request: Request) -> tuple[ChosenSplits, dict[str, list[Path]]]:
    shards: defaultdict[str, list[Path]] = defaultdict(list)
    for file in files:
        shards[_split_name(file)].append(file)
    return choose_splits(shards, request.source), shards


def find_parquet_files(path: Path) -> list[Path]:
    """The parquet files directly in `path`, or in its `data` folder, or in its only folder that has some; sorted.

    Raises:
        InputError: If several folders have some, so that one has to be chosen.
    """
    by_folder = {folder: _parquet_files(folder) for folder in (path, *_folders(path))}
    by_folder = {folder: files for folder, files in by_folder.items() if files}
    for folder in (path, path / "data"):
        if folder in by_folder:
            return by_folder[folder]
    if len(by_folder) > 1:
        raise InputError(
            f"{path}: several folders in it hold parquet files ({listing(folder.name for folder in by_folder)}); "
            f"give one of them, such as {next(iter(by_folder))}"
        )
    return next(iter(by_folder.values()), [])


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _parquet_files(path: Path) -> list[Path]:
    return sorted(
        entry
        for entry in path.iterdir()
        if entry.suffix.lower() == ".parquet" and entry.is_file() and not entry.name.startswith(".")
    )


def _split_name(file: Path) -> str:
    return file.stem.partition("-")[0]


def _demand_one_series(files: Sequence[Path]) -> None:
    shards = [(int(found[1]), int(found[2])) for file in files if (found := _OF.search(file.stem))]
    if not shards:
        return
    folder, split, total = files[0].parent, _split_name(files[0]), shards[0][1]
    # Two uploads in one folder would give every row twice.
    if len(set(shards)) < len(files) or any(other != total for _, other in shards):
        raise InputError(
            f"{folder}: the files of the split {split} are of several series ({listing(file.name for file in files)}); "
            "keep one of them"
        )
    absent = sorted(set(range(total)) - {number for number, _ in shards})
    if absent:
        raise InputError(
            f"{folder}: of the {total} shards of the split {split}, {len(absent)} are missing (numbers "
            f"{listing(absent, most=5)}); add them"
        )


def _split(name: str, files: Sequence[Path]) -> ArrowSplit:
    heads = [_head(file) for file in files]
    schemas = [schema for schema, _ in heads]
    for file, schema in zip(files, schemas, strict=True):
        if not schema.equals(schemas[0]):
            raise InputError(
                f"{file}: the columns ({listing(schema.names)}) or their types differ from those of {files[0].name} "
                f"({listing(schemas[0].names)}); shards of a split need the same"
            )

    def batches(columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
        for file in files:
            yield from _batches(file, columns, rows)

    return ArrowSplit(name, schemas[0], sum(rows for _, rows in heads), batches)


def _head(path: Path) -> tuple[pa.Schema, int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; copy or download it again")
    # Opened here and below, because Arrow's errors of missing rights do not name the file.
    with path.open("rb") as stream:
        try:
            file = pq.ParquetFile(stream)
            return file.schema_arrow, file.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{path}: not a parquet file, or cut short ({one_line(error)}); download it again"
            ) from error


def _batches(path: Path, columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.open("rb").close()
    # Otherwise, and through a Python file, Arrow would read the columns of a whole row group at once.
    try:
        with pq.ParquetFile(path, buffer_size=_READ_BYTES, pre_buffer=False) as file:
            yield from file.iter_batches(rows, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: the file is damaged ({one_line(error)}); copy or download it again") from error
