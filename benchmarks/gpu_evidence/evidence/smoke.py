"""A study so small that a CPU runs it in seconds, through everything that the large one goes through."""

from __future__ import annotations

import numpy as np

from evidence.packed_data import PackedData
from gence.bench.inputs import StudyData
from gence.bench.spec import Spec
from gence.bench.spec_parts import TrainingSpec
from gence.data import LabelledData

_ROWS, _TEST_ROWS, _FOREIGN = 40, 4, 20
_LABELS = 6


def shrink_data(data: StudyData) -> StudyData:
    """A few rows of every class, of those that are packed, and a few foreign images."""
    return StudyData(
        {name: _fewer(one) for name, one in data.labelled.items()},
        {name: {other: images[:_FOREIGN] for other, images in sets.items()} for name, sets in data.foreign.items()},
    )


def shrink_spec(spec: Spec) -> Spec:
    """Every loss with one seed, on a tiny network, for an epoch; a long tail is a short one."""
    tail = any("long-tail" in regime for regime in spec.regime)
    few = {"regime": ("long-tail:10",), "labels_per_class": None} if tail else {"labels_per_class": (_LABELS,)}
    training = TrainingSpec(epochs=1, batch_size=(20,), augment=("crop", "flip"), channels_last=True)
    return spec.model_copy(update={**few, "seeds": 1, "model": ("small_resnet",), "training": training})


def _fewer(data: LabelledData) -> PackedData:
    assert isinstance(data, PackedData), "it comes from a pack"
    assert data.test_rows is not None, "and packs have test rows"
    pool = np.setdiff1d(np.arange(len(data.labels)), data.test_rows)
    there = [row for row in pool if data.packed is None or data.packed[row]]
    train, test = _of_each(data, np.array(there), _ROWS), _of_each(data, data.test_rows, _TEST_ROWS)
    rows = np.concatenate([train, test])
    return PackedData(
        data.name,
        data.kind,
        data.inputs[rows],
        data.labels[rows],
        data.class_names,
        np.arange(len(train), len(rows)),
        ("a rehearsal on a few rows",),
        identity=f"rehearsal of {data.identity}",
    )


def _of_each(data: LabelledData, rows: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([rows[data.labels[rows] == k][:count] for k in range(data.num_classes)])
