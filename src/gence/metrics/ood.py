"""How well scores tell two sets of rows apart: the usual metrics of out-of-distribution detection."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from gence._arrays import as_tensor
from gence.metrics._predictions import Array

Positive = Literal["ood", "id"]


def ood_auroc(id_scores: Array, ood_scores: Array) -> Tensor:
    r"""Area under the ROC curve: :math:`P(s_\text{id} > s_\text{ood}) + \frac12 P(s_\text{id} = s_\text{ood})`.

    It is the same whichever set is called positive. Scores come from `gence.ood`, or from anywhere: high is
    in-distribution.

    Args:
        id_scores: Scores of in-distribution rows, `(rows,)`.
        ood_scores: Scores of out-of-distribution rows, `(other rows,)`.

    Returns:
        A float64 scalar in [0, 1]: 1 for sets told apart, 0.5 for scores that say nothing.

    Raises:
        ValueError: If one set is empty, has another shape, or holds NaN.

    Example:
        >>> from torch import tensor
        >>> ood_auroc(tensor([0.9, 0.8, 0.5]), tensor([0.1, 0.5])).item() * 6  # 5 of 6 pairs in order, and one tie
        5.5

    Reference:
        Hendrycks and Gimpel 2017, arXiv 1610.02136, section 2.
    """
    id_scores, ood_scores = _check(id_scores, ood_scores)
    ordered = ood_scores.sort().values
    below, not_above = (torch.searchsorted(ordered, id_scores, right=right) for right in (False, True))
    return (below + not_above).to(torch.float64).mean() / (2 * len(ordered))


def ood_fpr95(id_scores: Array, ood_scores: Array, *, positive: Positive = "ood") -> Tensor:
    r"""The share of in-distribution rows that are flagged when 95 % of the out-of-distribution rows are caught.

    With :math:`t` the lowest threshold that at least 95 % of the OOD scores do not exceed, it is
    :math:`P(s_\text{id} \le t)`. This is OpenOOD's rule, out-of-distribution is positive. The older rule is the
    reverse, `positive="id"`: the share of OOD rows that pass when 95 % of the ID rows do (OpenOOD, issue 308). The two
    are different numbers; say which one is given.

    Args:
        id_scores: As in `ood_auroc`.
        ood_scores: As in `ood_auroc`.
        positive: Which set is to be caught.

    Returns:
        A float64 scalar in [0, 1]; low is good. Rows at the threshold count as flagged, so ties never flatter.

    Raises:
        ValueError: As in `ood_auroc`, or if `positive` is neither.

    Example:
        >>> from torch import tensor
        >>> ood_fpr95(tensor([0.9, 0.8, 0.7, 0.2]), tensor([0.1, 0.3])).item()  # both are caught at 0.3
        0.25

    Reference:
        Yang et al. 2022, arXiv 2210.07242 (OpenOOD).
    """
    positives, negatives = _by_sign(id_scores, ood_scores, positive)
    needed = -(-95 * len(positives) // 100)
    threshold = positives.sort(descending=True).values[needed - 1]
    return (negatives >= threshold).to(torch.float64).mean()


def ood_aupr(id_scores: Array, ood_scores: Array, *, positive: Positive = "ood") -> Tensor:
    r"""Average precision: the mean over the positive rows of the precision when the threshold is at that row's score.

    Unlike the AUROC it depends on how many rows each set has, and on which is positive (AUPR-out by default, AUPR-in
    for `positive="id"`). Precision is not interpolated between thresholds.

    Args:
        id_scores: As in `ood_auroc`.
        ood_scores: As in `ood_auroc`.
        positive: Which set is to be found.

    Returns:
        A float64 scalar in [0, 1]; high is good. Scores that say nothing give the share of positive rows.

    Raises:
        ValueError: As in `ood_auroc`, or if `positive` is neither.

    Example:
        >>> from torch import tensor
        >>> ood_aupr(tensor([0.9, 0.2]), tensor([0.1, 0.3])).item() * 6  # (1 + 2/3) / 2
        5.0

    Reference:
        Davis and Goadrich 2006, ICML, on why precision is not interpolated.
    """
    positives, negatives = _by_sign(id_scores, ood_scores, positive)
    found, false = (
        len(scores) - torch.searchsorted(scores.sort().values, positives) for scores in (positives, negatives)
    )
    return (found / (found + false).to(torch.float64)).mean()


def _by_sign(id_scores: Array, ood_scores: Array, positive: Positive) -> tuple[Tensor, Tensor]:
    """Positive and negative scores, such that high is positive."""
    id_scores, ood_scores = _check(id_scores, ood_scores)
    if positive not in ("ood", "id"):
        raise ValueError(f"positive must be 'ood' or 'id', the set to be caught; got {positive!r}")
    return (-ood_scores, -id_scores) if positive == "ood" else (id_scores, ood_scores)


def _check(id_scores: Array, ood_scores: Array) -> tuple[Tensor, Tensor]:
    checked = []
    for name, scores in (("id_scores", as_tensor(id_scores)), ("ood_scores", as_tensor(ood_scores))):
        if scores.dim() != 1 or len(scores) == 0:
            raise ValueError(
                f"{name} must hold one score a row, shape (rows,), of at least 1 row; got {tuple(scores.shape)}"
            )
        if not scores.is_floating_point():
            raise ValueError(f"{name} must be floating-point; got {scores.dtype}")
        if bool(scores.isnan().any()):
            raise ValueError(f"{name} must not be NaN; row {int(scores.isnan().nonzero()[0])} is: leave such rows out")
        checked.append(scores.to(torch.float64))
    return checked[0], checked[1].to(checked[0].device)
