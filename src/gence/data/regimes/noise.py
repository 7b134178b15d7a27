"""Label noise: an exact share of the labels of each class becomes wrong, as mistaken annotators would have it."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from gence._errors import InputError
from gence.data.regimes._draw import Purpose, generator, shuffled_by_class, sorted_rows

NoiseKind = Literal["symmetric", "pair"]


def label_noise(
    labels: np.ndarray,
    rows: np.ndarray,
    rate: float,
    *,
    kind: NoiseKind = "symmetric",
    seed: int,
    num_classes: int,
) -> np.ndarray:
    r"""Labels of which a share is wrong: of the :math:`n_k` given rows of class k, :math:`\mathrm{round}(r\, n_k)`.

    A wrong label is drawn evenly from the K - 1 other classes (symmetric) or is the next class, with the first after
    the last (pair). A wrong label always differs from the true one; papers that draw it from all K classes mean by
    their rate r a share of only r (K - 1) / K. With one seed a larger rate makes the same labels wrong in the same way,
    and more.

    Args:
        labels: True class numbers of all rows, `(all rows,)`.
        rows: Row numbers that may get a wrong label: those for training, and those for calibration if you study that;
            never those for testing.
        rate: r, at least 0 and below 1; a half row is rounded to the even number.
        kind: `"symmetric"` or `"pair"`.
        seed: Two calls with one seed and the same rows give the same labels.
        num_classes: K, at least 2.

    Returns:
        A copy of all labels, `(all rows,)`, same dtype.

    Raises:
        InputError: If the rate is out of range, or above 0 and rounded to no wrong label in any class.
        ValueError: If labels or rows are none, a label is `num_classes` or above, or the kind is another.

    Example:
        >>> labels = np.repeat([0, 1, 2], 10)
        >>> noisy = label_noise(labels, np.arange(30), 0.2, seed=0, num_classes=3)
        >>> np.bincount(labels[noisy != labels]).tolist()
        [2, 2, 2]

    Reference:
        Both kinds by these names: Han et al. 2018, arXiv 1804.06872, section 4. What training on them costs: Natarajan
        et al. 2013 (NeurIPS); Patrini et al. 2017, arXiv 1609.03683.
    """
    rows = sorted_rows(labels, rows)
    if num_classes < 2 or labels[rows].max() >= num_classes:
        raise ValueError(
            f"num_classes must be at least 2 and above every class number; got {num_classes} and the class number "
            f"{labels[rows].max()}"
        )
    check_rate(rate)
    check_kind(kind)
    random = generator(seed, Purpose.NOISY_LABELS)
    noisy = labels.copy()
    by_class = shuffled_by_class(labels, rows, seed, Purpose.NOISY_ROWS)
    most = max(map(len, by_class))
    if rate > 0 and round(rate * most) == 0:
        raise InputError(
            f"a rate of {rate:g} of at most {most} labels a class makes none wrong; ask for more labels or a higher "
            "rate"
        )
    for drawn in by_class:
        # Steps are drawn for the whole class, so that they are the same at every rate.
        steps = random.integers(1, num_classes, len(drawn)) if kind == "symmetric" else np.ones(len(drawn), np.int64)
        wrong = drawn[: round(rate * len(drawn))]
        noisy[wrong] = (labels[wrong] + steps[: len(wrong)]) % num_classes
    return noisy


def check_rate(rate: float) -> None:
    """Refuse a rate that is no share of the labels."""
    if not 0 <= rate < 1:
        cure = f": give {rate / 100:g} for {rate:g} %" if 2 <= rate <= 99 else ""
        raise InputError(f"a noise rate is the share of wrong labels, at least 0 and below 1; got {rate:g}{cure}")


def check_kind(kind: str) -> None:
    """Refuse a kind that is neither symmetric nor pair."""
    if kind not in get_args(NoiseKind):
        raise ValueError(f"kind must be 'symmetric' or 'pair'; got {kind!r}")
