"""A Hugging Face data set by its name, through the datasets library and its cache."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gence._errors import InputError
from gence.data.arrow import ArrowSplit, arrow_data
from gence.data.dataset import LabelledData
from gence.data.request import Request
from gence.data.splits import choose_splits
from gence.data.wording import one_line

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

PREFIX = "hf:"
"""How a source says that it is a name on the Hugging Face hub."""


def read_hub(request: Request) -> LabelledData:
    """Read `hf:ORG/NAME` or `hf:ORG/NAME:CONFIG`; a folder ORG/NAME below the working directory is read instead.

    Raises:
        InputError: If it cannot be found or reached, or its columns cannot be used.
    """
    splits, notes = hub_splits(request)
    return arrow_data(splits, request, notes)


def hub_splits(request: Request) -> tuple[list[ArrowSplit], tuple[str, ...]]:
    """The splits that `read_hub` reads, and notes on them.

    Raises:
        InputError: If the source cannot be found or reached.
    """
    repository, _, config = request.source.removeprefix(PREFIX).partition(":")
    if not repository:
        raise InputError(f"{request.source}: the name is missing; hf:ORG/NAME or hf:ORG/NAME:CONFIG is expected")
    cure = "check the name and the network, or download the parquet files and give their folder"
    return _splits(repository, config or None, request, cure)


def read_repository(repository: str, config: str | None, request: Request, cure: str) -> LabelledData:
    """Read one configuration of a repository of the hub; `cure` is what to do when it cannot be loaded.

    Raises:
        InputError: If it cannot be found or reached, or its columns cannot be used.
    """
    splits, notes = _splits(repository, config, request, cure)
    return arrow_data(splits, request, notes)


def _splits(
    repository: str, config: str | None, request: Request, cure: str
) -> tuple[list[ArrowSplit], tuple[str, ...]]:
    import datasets

    source = request.source
    with _quiet():
        try:
            loaded = datasets.load_dataset(repository, config)
        # Whichever HTTP client, file format and hub version are at work raise errors of their own; all of them mean
        # that this source cannot be loaded, and the cause stays chained.
        except Exception as error:
            raise InputError(f"{source}: cannot be loaded ({one_line(error)}); {cure}") from error
    chosen = choose_splits([str(split) for split in loaded], source)
    return [_split(split, loaded[split]) for split in chosen.wanted(request.test_only)], chosen.notes


def _split(name: str, dataset: datasets.Dataset) -> ArrowSplit:
    def batches(columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
        table: pa.Table
        for table in dataset.select_columns(columns).with_format("arrow").iter(rows):
            yield from table.to_batches()

    return ArrowSplit(name, dataset.features.arrow_schema, len(dataset), batches)


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no log lines, and afterwards everything as it was."""
    import datasets
    import huggingface_hub.utils as hub

    bars = (
        (datasets.are_progress_bars_disabled, datasets.disable_progress_bars, datasets.enable_progress_bars),
        (hub.are_progress_bars_disabled, hub.disable_progress_bars, hub.enable_progress_bars),
    )
    switch_on = [enable for are_disabled, _, enable in bars if not are_disabled()]
    loggers = {name: logging.getLogger(name) for name in ("datasets", "huggingface_hub")}
    levels = {name: logger.level for name, logger in loggers.items()}
    try:
        for _, disable, _ in bars:
            disable()
        for logger in loggers.values():
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for enable in switch_on:
            enable()
        for name, logger in loggers.items():
            logger.setLevel(levels[name])
