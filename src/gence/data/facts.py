"""A named data set as it was published, and whether what was read is that data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gence._errors import InputError
from gence.data.dataset import LabelledData
from gence.data.wording import listing


@dataclass(frozen=True)
class Facts:
    """What its authors say of a data set.

    Attributes:
        train_rows: Rows outside the test split.
        test_rows: Rows of the test split, 0 if there is none.
        classes: How many there are.
        shape: Of one row: `(channels, height, width)` or `(columns,)`.
    """

    train_rows: int
    test_rows: int
    classes: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Recipe:
    """One named data set: where it is to be had, and what must be true of it.

    Attributes:
        title: What it is, in words.
        reference: The paper that it comes from.
        facts: What was published of it, checked after reading.
        earlier: What was published of its earlier releases, which are read as well.
        augmentation: The usual augmentation of its training images, by name: `"crop"`, `"flip"`.
        repository: Its name on the Hugging Face hub, if it is read from there.
        config: Its configuration there, if there are several.
        label: The column that holds the label.
        file: The .npz file that it is read from, if it is.
        class_names: Their names, for a file that holds numbers only.
        white: The value of a white pixel.
        note: What a reader of a report should know about it.
    """

    title: str
    reference: str
    facts: Facts
    earlier: tuple[Facts, ...] = ()
    augmentation: tuple[str, ...] = ()
    repository: str = ""
    config: str = ""
    label: str = "label"
    file: str = ""
    class_names: tuple[str, ...] = ()
    white: float = 255.0
    note: str = ""

    @property
    def embedded(self) -> bool:
        """Whether it comes with an installed package, so that nothing has to be downloaded."""
        return not self.repository and not self.file


def check_facts(
    data: LabelledData,
    published: Sequence[Facts],
    cure: str,
    files: Sequence[str] = (),
    *,
    resized: bool = False,
    test_only: bool = False,
) -> None:
    """Refuse data that are none of the published releases.

    Args:
        data: What was read.
        published: The facts of the releases, the one to name in the message first.
        cure: What to do about it, for the message.
        files: What was read, for the message, where it was several files.
        resized: Whether the images were resized, so that only their channels can be compared.
        test_only: Whether the test split alone was read.

    Raises:
        InputError: If no release has these numbers of rows and classes and rows of this shape.
    """
    test_rows = 0 if data.test_rows is None else len(data.test_rows)
    found = Facts(len(data.labels) - test_rows, test_rows, data.num_classes, data.inputs.shape[1:])
    if test_only:
        found = Facts(0, len(data.labels), found.classes, found.shape)
    differences = [list(_differences(facts, found, resized, test_only)) for facts in published]
    if all(differences):
        read = f" (read from {listing(files)})" if files else ""
        raise InputError(f"{data.name}: not as published: {', '.join(differences[0])}{read}; {cure}")


def _differences(facts: Facts, found: Facts, resized: bool, test_only: bool) -> Iterator[str]:
    axes = 1 if resized else None
    compared = {
        "training rows": (facts.train_rows, found.train_rows),
        "test rows": (facts.test_rows, found.test_rows),
        "classes": (facts.classes, found.classes),
        "rows of shape": (facts.shape[:axes], found.shape[:axes]),
    }
    if test_only:
        del compared["training rows"]
    for what, (expected, got) in compared.items():
        if expected != got:
            yield f"{what} {got} instead of {expected}"
