"""What a trained model is tested on besides: which shifts of the test rows, which data sets of other images."""

from __future__ import annotations

import numpy as np

from gence._errors import InputError
from gence.bench.spec_parts import SuitesSpec
from gence.data import LabelledData, Shift, ood_sets, recipes, shift_suite
from gence.data.ood import OOD_SETS
from gence.data.wording import counted, listing

_DARK = 64


def check_suites(suites: SuitesSpec, source: str, data: LabelledData) -> None:
    """Refuse at the start what would fail in every trial.

    Args:
        suites: What is wanted.
        source: What the spec calls the data.
        data: The data.

    Raises:
        InputError: If a shift does not fit the data, or other images are wanted of a table, of data whose usual sets
            are not known, or of a data set that is the only one of them.
    """
    if suites.shift:
        _check_shifts(suites, data)
    if suites.ood:
        _check_foreign(suites, source, data)


def foreign_sets(suites: SuitesSpec, source: str) -> tuple[str, ...]:
    """The names of the data sets that are out of the distribution of `source`: those asked for, less itself."""
    if suites.ood == "auto":
        return (*ood_sets(source).near, *ood_sets(source).far)
    return tuple(name for name in suites.ood if name != source)


def wanted_shifts(suites: SuitesSpec, data: LabelledData, train_rows: np.ndarray) -> tuple[Shift, ...]:
    """The shifts of the suites that fit the data, at their severities; tables move by what their training rows vary.

    Args:
        suites: What is wanted.
        data: The data.
        train_rows: Training rows, with those shown to a loss that looks at validation rows.
    """
    if not suites.shift:
        return ()
    fitting = shift_suite(data, rows=train_rows, white=_white(data))
    return tuple(
        shift
        for shift in fitting
        if shift.severity in suites.severities and (suites.shift == "all" or shift.name in suites.shift)
    )


def draw_rows(count: int, most: int | None, *, seed: int) -> np.ndarray:
    """At most `most` of the numbers below `count`, rising; all of them if `most` is None."""
    if most is None or count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def _white(data: LabelledData) -> float:
    return recipes.white_pixel(data) or (255.0 if data.inputs.dtype == np.uint8 else 1.0)


def _check_shifts(suites: SuitesSpec, data: LabelledData) -> None:
    fitting = dict.fromkeys(shift.name for shift in shift_suite(data, white=_white(data)))
    for name in () if suites.shift == "all" else suites.shift:
        if name not in fitting:
            what = "a table" if data.kind == "table" else f"images of {counted(data.inputs.shape[1], 'channel')}"
            raise InputError(
                f'the shift {name!r} does not fit {data.name}, which is {what}; choose of {listing(fitting)}, or "all"'
            )
    if data.kind == "table":
        return
    white, least, most = _white(data), data.inputs.min(), data.inputs.max()
    # Without a recipe nobody says that 16, and not 255, is the white of these images.
    dark = data.inputs.dtype == np.uint8 and white == 255.0 and most < _DARK
    if least < 0 or most > white or dark:
        raise InputError(
            f"{data.name}: shifts of images need black at 0 and white at {white:g}; its pixels lie in "
            f"[{least:g}, {most:g}]: scale them, or leave suites.shift out"
        )


def _check_foreign(suites: SuitesSpec, source: str, data: LabelledData) -> None:
    if data.kind == "table":
        raise InputError(f"suites.ood: sets of other images are for images; {data.name} is a table: leave it out")
    if suites.ood == "auto" and source not in OOD_SETS:
        raise InputError(
            f'suites.ood = "auto" stands for the usual sets of {listing(OOD_SETS)}; {source} is none of these: name '
            'the sets, as in ["cifar10", "svhn"]'
        )
    if not foreign_sets(suites, source):
        raise InputError(f"suites.ood names {source} only, which is the data set itself; name another one")
