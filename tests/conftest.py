"""Settings of the whole suite, and the command line as a stranger uses it."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

# The tensors of tests are small: a second thread costs more than it gives, twice so on a busy machine.
torch.set_num_threads(1)


@pytest.fixture
def processes_end() -> Iterator[None]:
    """End the idle processes of joblib after the test, as others count those that are left."""
    yield
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make the loss of that name one that is never finite, until the end of the test."""
    from gence.losses import catalogue

    def not_finite(input, target, weight, ignore_index, reduction):
        return input.sum() * float("nan")

    def break_(name: str) -> None:
        entry = dataclasses.replace(catalogue.CATALOGUE[name], source=not_finite, builds=False)
        monkeypatch.setitem(catalogue.CATALOGUE, name, entry)

    return break_


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Call the command line in an empty folder: (exit status, standard output, standard error)."""
    from gence import cli

    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gence", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capsys.readouterr()
        return int(stopped.value.code or 0), said.out, said.err

    return call
