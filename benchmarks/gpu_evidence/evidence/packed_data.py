"""From a pack to what the trials of a study read: data of which only the rows that they touch are there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evidence.pack_file import Pack
from gence._errors import InputError
from gence.bench.inputs import StudyData
from gence.bench.spec import Spec
from gence.bench.suites import foreign_sets
from gence.data import LabelledData


@dataclass(frozen=True)
class PackedData(LabelledData):
    """Data of which only some rows are there; the others are black, and no trial may touch them.

    Attributes:
        identity: What takes the place of the fingerprint: the same for every pack of the same data and test rows, so
            that a trial has one key whatever else is in the pack that it was run from.
        packed: Whether each row is there.
    """

    identity: str = ""
    packed: np.ndarray | None = None

    @property
    def fingerprint(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]  # computed from all rows there
        """The identity, as a fingerprint of the rows that are there would change with them."""
        return self.identity

    def has(self, rows: np.ndarray) -> bool:
        """Whether all of these rows are there."""
        return self.packed is None or bool(self.packed[rows].all())


def study_data(pack: Pack, spec: Spec) -> StudyData:
    """What the trials of a spec read.

    Raises:
        InputError: If the pack lacks one of its data sets, or a file of the pack is damaged.
    """
    labelled, foreign = {}, {}
    for source in spec.data:
        if source not in pack.manifest["data"]:
            raise InputError(f"{pack.folder}: {source} is not in this pack; make one with pack.py --spec")
        data = _labelled(pack, source)
        labelled[data.name] = data
        foreign[data.name] = {name: _foreign(pack, source, name) for name in foreign_sets(spec.suites, source)}
    return StudyData(labelled, foreign)


def _labelled(pack: Pack, source: str) -> PackedData:
    about = pack.manifest["data"][source]
    images, arrays = pack.images(about)
    rows = np.array(about["rows"])
    inputs = np.zeros((len(arrays["labels"]), *images.shape[1:]), np.uint8)
    inputs[rows] = images
    packed = np.zeros(len(inputs), bool)
    packed[rows] = True
    return PackedData(
        about["name"],
        "image",
        inputs,
        arrays["labels"].astype(np.int64),
        tuple(about["class_names"]),
        np.arange(about["pool"], len(inputs)),
        tuple(about["notes"]),
        identity=about["identity"],
        packed=packed,
    )


def _foreign(pack: Pack, source: str, name: str) -> np.ndarray:
    about = pack.manifest["data"][source]["foreign"].get(name)
    if about is None:
        raise InputError(f"{pack.folder}: the images of {name} beside {source} are not in this pack; make one anew")
    return pack.images(about)[0]
