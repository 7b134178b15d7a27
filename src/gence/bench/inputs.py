"""All that the trials of a study read: its data sets, and the images that are foreign to each of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gence._errors import InputError
from gence.bench.spec import Spec
from gence.bench.suites import check_suites, foreign_sets
from gence.data import LabelledData, load, load_ood, recipes


@dataclass(frozen=True)
class StudyData:
    """Read once, never changed.

    Attributes:
        labelled: The data sets by name, in the order of the spec.
        foreign: For each of them, out-of-distribution images in its shape, by the name of their set.
    """

    labelled: dict[str, LabelledData]
    foreign: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    def fingerprint(self, name: str) -> str:
        """A sha256 over a data set and the images foreign to it; without any it is that of the data set."""
        foreign = self.foreign.get(name)
        if not foreign:
            return self.labelled[name].fingerprint
        digest = hashlib.sha256(self.labelled[name].fingerprint.encode())
        for set_name, images in foreign.items():
            digest.update(f"\0{set_name}\0{images.dtype.str}{images.shape}".encode())
            digest.update(np.ascontiguousarray(images).data)
        return digest.hexdigest()


def read_inputs(spec: Spec) -> StudyData:
    """Read the data sets of a spec, and those that are out of their distribution.

    The data root serves the named data sets among them, and the target those that are not named.

    Raises:
        InputError: If one of them cannot be read, two have the same name, or the suites do not fit one of them.
    """
    root = None if spec.data_root is None else Path(spec.data_root).expanduser()
    named = [source for source in spec.data if source in recipes.names()]
    labelled: dict[str, LabelledData] = {}
    sources: dict[str, str] = {}
    for source in spec.data:
        # Where nothing could use what was given, `load` says so.
        takes_root = source in named or not (named or spec.suites.ood)
        takes_target = source not in named or len(named) == len(spec.data)
        data = load(
            source,
            target=spec.target if takes_target else None,
            image_size=spec.image_size,
            data_root=root if takes_root else None,
        )
        if data.name in labelled:
            raise InputError(
                f"{sources[data.name]} and {source} are both called {data.name!r}, and the records could not tell them "
                "apart; rename one of them"
            )
        check_suites(spec.suites, source, data)
        labelled[data.name], sources[data.name] = data, source
    foreign = {
        name: {other: load_ood(other, data, data_root=root) for other in foreign_sets(spec.suites, sources[name])}
        for name, data in labelled.items()
    }
    return StudyData(labelled, foreign)
