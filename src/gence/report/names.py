"""How names are shown: labels for the losses and calibrators of the catalogue, and the one look each loss keeps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from gence.bench.records import Budget, Setting

_LOSSES = {
    "ce": "cross-entropy",
    "label_smoothing": "label smoothing",
    "focal": "focal",
    "flsd53": "focal, by sample (FLSD-53)",
    "dual_focal": "dual focal",
    "adafocal": "AdaFocal",
    "brier": "Brier score",
    "mmce": "MMCE",
    "mdca": "MDCA",
    "dca": "DCA",
    "mbls": "margin-based label smoothing",
    "acls": "ACLS",
    "cpc": "pairwise constraints (CPC)",
    "crl": "correctness ranking (CRL)",
    "cals": "CALS-ALM",
    "confidence_penalty": "confidence penalty",
    "poly1": "Poly-1",
    "label_relaxation": "label relaxation",
    "class_balanced": "class-balanced",
    "balanced_softmax": "balanced softmax",
    "logit_adjusted": "logit adjustment",
    "logit_adjusted_smoothing": "smoothed logit adjustment",
    "ldam": "LDAM, re-weighted late (DRW)",
    "gence": "GenCE",
    "gence_moving": "moving GenCE",
    "gence_focal": "focal GenCE",
    "gence_smoothing": "smoothed GenCE",
    "gence_margin": "GenCE with a margin",
    "gence_prior": "prior-aware GenCE",
    "gence_balanced": "balanced GenCE",
}
_CALIBRATORS = {
    "none": "no calibrator",
    "temperature": "temperature scaling",
    "temperature_balanced": "balanced temperature",
    "ats": "adaptive temperature (ATS)",
    "ensemble": "ensemble temperature scaling",
    "vector": "vector scaling",
    "matrix": "matrix scaling",
    "dirichlet": "Dirichlet calibration",
    "histogram": "histogram binning",
    "isotonic": "isotonic regression",
}

BASELINE = ("ce", "none")
"""Plain cross-entropy without a calibrator: what everybody has before asking."""

Varied = Literal["labels", "batch size", "both"]
"""What the settings of a study differ in."""

COLOURS = 7
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ("solid", "dashed", "dotted", "dashdot")
_FIRST = ("ce", "gence", "focal", "label_smoothing", "gence_moving")
# Fixed places, so that a loss looks the same in the reports of two studies with different grids.
_PLACES = (*_FIRST, *(name for name in _LOSSES if name not in _FIRST))


@dataclass(frozen=True)
class Look:
    """Colour, marker and dash of a loss; together they tell 169 losses apart, also without colour vision."""

    place: int
    colour: int
    marker: str
    dash: str


def loss_label(name: str) -> str:
    """The words for a loss and the knobs given with it; a name outside the catalogue is shown as it is.

    >>> loss_label("focal"), loss_label("focal:gamma=1.0"), loss_label("mine:a=1")
    ('focal', 'focal, gamma 1', 'mine:a=1')
    """
    base, *knobs = name.split(":")
    if base not in _LOSSES or not all("=" in knob for knob in knobs):
        return name
    return ", ".join([_LOSSES[base], *(knob.replace("=", " ", 1).removesuffix(".0") for knob in knobs)])


def calibrator_label(name: str) -> str:
    """The words for a calibrator; a name outside the catalogue is shown as it is."""
    return _CALIBRATORS.get(name, name)


def combination_label(loss: str, calibrator: str) -> str:
    """A loss and a calibrator in words.

    >>> combination_label("gence", "ats"), combination_label("focal", "none")
    ('GenCE with adaptive temperature (ATS)', 'focal without calibrator')
    """
    if (loss, calibrator) == BASELINE:
        return "plain cross-entropy without calibrator"
    end = "without calibrator" if calibrator == "none" else f"with {calibrator_label(calibrator)}"
    return f"{loss_label(loss)} {end}"


def headline(loss: str, calibrator: str) -> str:
    """`combination_label` as it starts a line; only names of ours are given a capital."""
    label = combination_label(loss, calibrator)
    return capital(label) if loss.partition(":")[0] in _LOSSES else label


def capital(text: str) -> str:
    """`text` as it starts a line."""
    return text[:1].upper() + text[1:]


def listed(names: Sequence[object]) -> str:
    """Names in a sentence.

    >>> listed([]), listed(["a"]), listed(["a", "b", 3])
    ('', 'a', 'a, b and 3')
    """
    texts = [str(name) for name in names]
    return " and ".join(part for part in (", ".join(texts[:-1]), *texts[-1:]) if part)


def counted(count: int, noun: str) -> str:
    """A count with its noun.

    >>> counted(1, "loss"), counted(3, "loss"), counted(2, "data set")
    ('1 loss', '3 losses', '2 data sets')
    """
    return f"{count:,} {noun if count == 1 else f'{noun}es' if noun.endswith('s') else f'{noun}s'}"


def budget_label(budget: Budget) -> str:
    """A budget in words.

    >>> budget_label(50), budget_label(1), budget_label("all")
    ('50 labels a class', '1 label a class', 'all labels')
    """
    if budget == "all":
        return "all labels"
    return f"{budget} label a class" if budget == 1 else f"{budget} labels a class"


def varied(settings: Iterable[Setting]) -> Varied:
    """What the settings of a study differ in; labels where there is one setting only."""
    settings = list(settings)
    if len({setting.batch_size for setting in settings}) < 2:
        return "labels"
    return "batch size" if len({setting.labels_per_class for setting in settings}) < 2 else "both"


def setting_labels(settings: Iterable[Setting]) -> dict[Setting, str]:
    """The settings of a study in words, which name what they differ in, the labels, and a regime if there is one.

    >>> list(setting_labels([Setting(10, 8)]).values())
    ['10 labels a class']
    >>> list(setting_labels([Setting(10, 8), Setting(10, 32)]).values())
    ['batches of 8', 'batches of 32']
    >>> setting_labels([Setting(10, 8), Setting(10, 32), Setting("all", 32)])[Setting("all", 32)]
    'all labels, batches of 32'
    >>> list(setting_labels([Setting("all", 32, "long-tail:10")]).values())
    ['all labels, long-tail:10']
    >>> list(setting_labels([Setting(10, 8, data="digits"), Setting(10, 8, data="moons")]).values())
    ['digits, 10 labels a class', 'moons, 10 labels a class']
    """
    settings = list(settings)
    data, model = (len({getattr(setting, name) for setting in settings}) > 1 for name in ("data", "model"))
    places = place_labels(settings)
    labels: dict[Setting, str] = {}
    for setting in settings:
        ours = [setting.data if data else "", setting.model if model else ""]
        regime = [] if setting.regime == "none" else [setting.regime]
        labels[setting] = ", ".join(filter(None, [*ours, places[setting], *regime]))
    return labels


def place_labels(settings: Iterable[Setting]) -> dict[Setting, str]:
    """Labels and batch sizes of settings in words, of both what differs; labels where neither does."""
    settings = list(settings)
    what = varied(settings)
    labels: dict[Setting, str] = {}
    for setting in settings:
        batches = [] if what == "labels" else [f"batches of {setting.batch_size}"]
        budget = [] if what == "batch size" else [budget_label(setting.labels_per_class)]
        labels[setting] = ", ".join([*budget, *batches])
    return labels


Family = tuple[str, str, str]
"""Data, regime and model: settings of one family differ in labels and batch sizes only."""


def family(setting: Setting) -> Family:
    """The family of a setting."""
    return setting.data, setting.regime, setting.model


def family_labels(settings: Iterable[Setting]) -> dict[Family, str]:
    """The families of a study in words, which name what they differ in, and a regime if there is one.

    >>> family_labels([Setting(10, 8, data="digits", model="mlp"), Setting(10, 8, data="moons", model="mlp")])
    {('digits', 'none', 'mlp'): 'digits', ('moons', 'none', 'mlp'): 'moons'}
    """
    families = list(dict.fromkeys(family(setting) for setting in settings))
    data, _, model = (len({one[i] for one in families}) > 1 for i in range(3))
    labels: dict[Family, str] = {}
    for one in families:
        words = [one[0] if data else "", one[2] if model else "", "" if one[1] == "none" else one[1]]
        labels[one] = ", ".join(filter(None, words)) or one[0]
    return labels


def looks(losses: Iterable[str]) -> dict[str, Look]:
    """One look a loss: the losses of the catalogue have theirs, the others follow in the given order."""
    names = list(dict.fromkeys(losses))
    others = [name for name in names if name not in _PLACES]
    places = {name: _PLACES.index(name) if name in _PLACES else len(_PLACES) + others.index(name) for name in names}
    return {name: _look(place) for name, place in places.items()}


def _look(place: int) -> Look:
    # The colour of the baseline is not used a second time.
    colour = place if place < COLOURS else 1 + (place - COLOURS) % (COLOURS - 1)
    cycle = 0 if place < COLOURS else 1 + (place - COLOURS) // (COLOURS - 1)
    return Look(place, colour, _MARKERS[place % len(_MARKERS)], _DASHES[cycle % len(_DASHES)])
