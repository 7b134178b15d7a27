"""The losses by name: what `--losses` takes, what the contract test runs over, and what the README's table says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gence._errors import InputError, unknown_name
from gence.losses._cautions import silence
from gence.losses.adaptive_focal import AdaFocalLoss
from gence.losses.balanced import BalancedGenCELoss
from gence.losses.brier import brier
from gence.losses.constrained import CALSLoss
from gence.losses.criterion import Criterion
from gence.losses.cross_entropy import Reduction
from gence.losses.focal import dual_focal, focal, focal_sample_dependent
from gence.losses.generative import GenCELoss
from gence.losses.hybrid import gence_focal, gence_margin, gence_prior, gence_smoothing
from gence.losses.ldam import LDAMLoss
from gence.losses.margin import acls, mbls
from gence.losses.marginal import dca, mdca, mmce
from gence.losses.moving import MovingClassMass
from gence.losses.pairwise import cpc
from gence.losses.poly import poly1
from gence.losses.prior import (
    as_class_counts,
    balanced_softmax,
    class_balanced,
    logit_adjusted,
    logit_adjusted_smoothing,
)
from gence.losses.ranking import CRLLoss
from gence.losses.smoothing import confidence_penalty, label_relaxation, label_smoothing

Loss = nn.Module
"""Called with (logits `(N, C)` or `(N, C, d1, ..., dK)`, class numbers): the mean over the rows that count."""

Proper = Literal["yes", "if complete", "large batches", "balanced", "balanced, if complete", "no"]
"""Whether the true posterior alone minimises the expected loss. "if complete": if the class posteriors are linearly
independent as functions of x; "large batches": in those, where chance does not move the batch's own statistic;
"balanced": the posterior under a balanced prior does."""


@dataclass(frozen=True)
class Entry:
    """One loss of the catalogue.

    Attributes:
        title: A few words.
        reference: Its source.
        equation: What a row contributes, p the probabilities, z the logits, y the label.
        proper: Whether it is a strictly proper score.
        source: The function, or what builds the module. Keyword-only numbers and switches among its parameters are the
            knobs.
        builds: Whether `source` builds the loss; otherwise it is the loss, and a `Criterion` is made of it.
        needs: What a training run owes it beyond batches of logits and labels, in words; empty for most.
        head: The last layer it is meant for.
        own_gradient: Whether its gradient is deliberately not the derivative of its value.
    """

    title: str
    reference: str
    equation: str
    proper: Proper
    source: Callable[..., Any]
    builds: bool = False
    needs: str = ""
    head: Literal["linear", "cosine"] = "linear"
    own_gradient: bool = False


def _gence_moving(
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    num_classes: int,
    strength: float = 1.0,
    rate: float = 0.02,
) -> GenCELoss:
    mass = MovingClassMass(num_classes, rate)
    return GenCELoss(weight, ignore_index, reduction, strength=strength, class_mass=mass)


_CLASSES = "the number of classes"
_COUNTS = "labels a class"
_BATCH = "batches of more rows than classes"

CATALOGUE: dict[str, Entry] = {
    "ce": Entry("cross-entropy", "the default of the field", "−log p_y", "yes", F.cross_entropy),
    "label_smoothing": Entry(
        "label smoothing", "Szegedy et al. 2016, arXiv 1512.00567", "CE with (1−ε)·1{k=y} + ε/K", "no", label_smoothing
    ),
    "focal": Entry("focal", "Lin et al. 2017, arXiv 1708.02002", "−(1−p_y)^γ log p_y", "no", focal),
    "flsd53": Entry(
        "focal, by sample (FLSD-53)",
        "Mukhoti et al. 2020, arXiv 2002.09437",
        "focal, γ = 5 if p_y < 0.2, else 3",
        "no",
        focal_sample_dependent,
    ),
    "dual_focal": Entry(
        "dual focal",
        "Tao et al. 2023, arXiv 2305.13665",
        "−(1−p_y+p_j)^γ log p_y, p_j the next below p_y",
        "no",
        dual_focal,
    ),
    "adafocal": Entry(
        "AdaFocal",
        "Ghosh et al. 2022, arXiv 2211.11838",
        "focal, γ of p_y's bin moved by its gap; −(1+p_y)^|γ| log p_y for γ < 0",
        "no",
        AdaFocalLoss,
        builds=True,
        needs="validation rows each epoch",
    ),
    "brier": Entry("Brier score", "Brier 1950", "Σ_k (p_k − 1{k=y})²", "yes", brier),
    "mmce": Entry(
        "MMCE", "Kumar et al. 2018, PMLR 80", "CE + λ·√Σ_ij e_i e_j κ(c_i, c_j), e = (a − c)/v", "large batches", mmce
    ),
    "mdca": Entry(
        "MDCA",
        "Hebbalaguppe et al. 2022, arXiv 2203.13834",
        "CE + β·mean_k |mean p_k − mean 1{y=k}|",
        "large batches",
        mdca,
    ),
    "dca": Entry(
        "DCA", "Liang et al. 2020, arXiv 2009.04057", "CE + β·|mean confidence − accuracy|", "large batches", dca
    ),
    "mbls": Entry(
        "margin-based label smoothing",
        "Liu et al. 2022, arXiv 2111.15430",
        "CE + α·mean_k relu(max z − z_k − m)",
        "no",
        mbls,
    ),
    "acls": Entry(
        "ACLS",
        "Park et al. 2023, arXiv 2308.11911",
        "CE + α·(λ1·relu(max z − m)² + λ2·Σ_k relu(max z − z_k − m)²/(K−1))",
        "no",
        acls,
        own_gradient=True,
    ),
    "cpc": Entry(
        "pairwise constraints (CPC)",
        "Cheng and Vasconcelos 2022, CVPR",
        "CE + λ1·mean_k −log σ(z_y − z_k) + λ2·mean_jk −½ log σ(z_k − z_j), j ≠ k, neither y",
        "no",
        cpc,
    ),
    "crl": Entry(
        "correctness ranking (CRL)",
        "Moon et al. 2020, arXiv 2007.01458",
        "CE + w·mean_i relu(|h_i − h_j| − sign(h_i − h_j)(c_i − c_j)), j the next row",
        "no",
        CRLLoss,
        builds=True,
        needs=f"{_COUNTS}, the numbers of a batch's rows",
    ),
    "cals": Entry(
        "CALS-ALM",
        "Liu et al. 2023, arXiv 2211.15088",
        "CE + mean_k ((λ_k + ρ_k d_k)₊² − λ_k²)/(2ρ_k), d_k = (max z − z_k)/m − 1",
        "no",
        CALSLoss,
        builds=True,
        needs=f"{_CLASSES}, validation rows each epoch",
    ),
    "confidence_penalty": Entry(
        "confidence penalty", "Pereyra et al. 2017, arXiv 1701.06548", "CE − β·H(p)", "no", confidence_penalty
    ),
    "poly1": Entry("Poly-1", "Leng et al. 2022, arXiv 2204.12511", "CE + ε·(1 − p_y)", "no", poly1),
    "label_relaxation": Entry(
        "label relaxation",
        "Lienen and Hüllermeier 2021, AAAI",
        "0 if p_y ≥ 1−α, else KL of (1−α, α) to (p_y, 1−p_y)",
        "no",
        label_relaxation,
    ),
    "class_balanced": Entry(
        "class-balanced",
        "Cui et al. 2019, arXiv 1901.05555",
        "CE·w_y, w_k ∝ (1−β)/(1−β^n_k)",
        "no",
        class_balanced,
        needs=_COUNTS,
    ),
    "balanced_softmax": Entry(
        "balanced softmax",
        "Ren et al. 2020, arXiv 2007.10740",
        "CE of z + log n",
        "balanced",
        balanced_softmax,
        needs=_COUNTS,
    ),
    "logit_adjusted": Entry(
        "logit adjustment",
        "Menon et al. 2021, arXiv 2007.07314",
        "CE of z + τ·log π",
        "balanced",
        logit_adjusted,
        needs=_COUNTS,
    ),
    "logit_adjusted_smoothing": Entry(
        "smoothed logit adjustment",
        "ours",
        "CE of z + τ·log π with (1−s)·1{k=y} + s·π_k",
        "no",
        logit_adjusted_smoothing,
        needs=_COUNTS,
    ),
    "ldam": Entry(
        "LDAM, re-weighted late (DRW)",
        "Cao et al. 2019, arXiv 1906.07413",
        "CE of z − s·m_y·1{k=y}, z = s·cos, m_k ∝ n_k^(−1/4)",
        "no",
        LDAMLoss,
        builds=True,
        needs=f"{_COUNTS}, a cosine head",
        head="cosine",
    ),
    "gence": Entry(
        "GenCE",
        "Zhan et al. 2026, arXiv 2604.06689",
        "−log p_y + log m_y",
        "if complete",
        GenCELoss,
        builds=True,
        needs=_BATCH,
    ),
    "gence_moving": Entry(
        "moving GenCE",
        "ours",
        "GenCE, m a moving average",
        "if complete",
        _gence_moving,
        builds=True,
        needs=_CLASSES,
        own_gradient=True,
    ),
    "gence_focal": Entry(
        "focal GenCE", "ours", "(1−p_y)^γ (−log p_y + log m_y)", "no", gence_focal, needs=_BATCH, own_gradient=True
    ),
    "gence_smoothing": Entry(
        "smoothed GenCE", "ours", "label smoothing of −log p + log m", "no", gence_smoothing, needs=_BATCH
    ),
    "gence_margin": Entry(
        "GenCE with a margin", "ours", "GenCE + α·mean_k relu(max z − z_k − m)", "no", gence_margin, needs=_BATCH
    ),
    "gence_prior": Entry(
        "prior-aware GenCE",
        "ours",
        "GenCE of z + τ·log π",
        "balanced, if complete",
        gence_prior,
        needs=f"{_COUNTS}, {_BATCH}",
    ),
    "gence_balanced": Entry(
        "balanced GenCE",
        "ours",
        "moving GenCE of z + τ·log π with (1−s)·1{k=y} + s·π_k",
        "no",
        BalancedGenCELoss,
        builds=True,
        needs=_COUNTS,
        own_gradient=True,
    ),
}

_GIVEN = ("num_classes", "class_counts", "num_rows")
"""Parameters of a source that the data decide."""


def names() -> tuple[str, ...]:
    """Every name that `build` takes."""
    return tuple(CATALOGUE)


def knobs(name: str) -> dict[str, float]:
    """The knobs of a loss and their default values.

    Raises:
        InputError: If there is no loss of that name.
    """
    parameters = inspect.signature(_entry(name).source).parameters.values()
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and type(parameter.default) in (bool, int, float)
    }


def uses_validation(name: str) -> bool:
    """Whether the loss looks at validation rows after every epoch.

    Raises:
        InputError: If there is no loss of that name.
    """
    return getattr(_entry(name).source, "uses_validation", False)


def head(name: str) -> Literal["linear", "cosine"]:
    """The last layer that the loss is meant for.

    Raises:
        InputError: If there is no loss of that name.
    """
    return _entry(name).head


def build(
    name: str,
    *,
    num_classes: int | None = None,
    class_counts: Tensor | Sequence[int] | None = None,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    **settings: float,
) -> Loss:
    """The loss called `name`, with its knobs set. A loss may keep a state: build one for each training.

    Args:
        name: One of `names()`.
        num_classes: C, needed by losses that keep a number a class; `class_counts` says it as well.
        class_counts: `(C)`, how many training rows each class has; needed by losses for lopsided labels and by those
            that keep a number a row.
        weight: `(C)` class weights.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        **settings: Values for knobs of this loss, by the papers' names (`focal` has gamma, and so on).

    Returns:
        A module, (logits, target) -> scalar. One that moves with the epochs is a `gence.losses.EpochLoss`.

    Raises:
        InputError: If there is no loss or no knob of that name, a knob or `weight` is of another kind, or the loss
            needs `num_classes` or `class_counts`.
        ValueError: If a knob is out of its range, or `class_counts` or `weight` do not hold one number a class.

    Example:
        >>> loss = build("focal", gamma=0.0)
        >>> round(loss(torch.zeros(2, 4), torch.tensor([0, 3])).item(), 4)  # log(4)
        1.3863
        >>> tail = build("balanced_softmax", class_counts=[90, 10])
        >>> round(tail(torch.zeros(1, 2), torch.tensor([1])).item(), 4)  # log(10)
        2.3026
    """
    entry, known = _entry(name), knobs(name)
    for key in settings:
        if not known:
            raise InputError(f"loss {name!r} has no knobs; got {key}={settings[key]}: leave it out")
        if key not in known:
            raise unknown_name(f"knob of loss {name!r}", key, known)
        _check_kind(name, key, settings[key], known[key])
    if weight is not None and not isinstance(weight, Tensor):
        raise InputError(f"weight must be a tensor; got {type(weight).__name__}: use torch.as_tensor(weight)")
    counts = None if class_counts is None else as_class_counts(class_counts).detach().clone()
    if counts is not None and num_classes not in (None, len(counts)):
        raise InputError(f"class_counts must have one entry a class, {num_classes}; got {len(counts)}")
    if counts is not None:
        num_classes = len(counts)
    arguments: dict[str, Any] = {"weight": weight, "ignore_index": ignore_index, "reduction": reduction}
    arguments |= {**_from_data(name, entry, num_classes, counts), **known, **settings}
    if entry.builds:
        return entry.source(**arguments)
    loss = Criterion(entry.source, **arguments)
    _try(loss, num_classes, counts)
    return loss


def _check_kind(name: str, knob: str, value: object, default: float) -> None:
    kind, wanted = (bool, "True or False") if isinstance(default, bool) else (Real, "a number")
    if not isinstance(value, kind) or (kind is Real and isinstance(value, bool)):
        raise InputError(f"knob {knob} of loss {name!r} must be {wanted}; got {value!r}")


def _try(loss: Criterion, num_classes: int | None, counts: Tensor | None) -> None:
    """Call a function once, as it is the function that knows which settings it takes."""
    weight = loss.weight
    given = counts if weight is None else weight
    num_classes = num_classes or (2 if given is None else given.numel())
    logits = torch.zeros(2, num_classes, device=None if given is None else given.device)
    if weight is not None and weight.is_floating_point():
        logits = logits.to(weight.dtype)  # F.cross_entropy wants them alike
    with torch.no_grad(), silence():
        loss(logits, torch.zeros(2, dtype=torch.long, device=logits.device))


def _from_data(name: str, entry: Entry, num_classes: int | None, counts: Tensor | None) -> dict[str, Any]:
    """What the source wants to know of the data."""
    wanted = inspect.signature(entry.source).parameters
    if "num_classes" in wanted and num_classes is None:
        raise InputError(f"loss {name!r} needs the number of classes; give num_classes=")
    if counts is None and ("class_counts" in wanted or "num_rows" in wanted):
        raise InputError(f"loss {name!r} needs the number of training rows of each class; give class_counts=")
    known = {
        "num_classes": num_classes,
        "class_counts": counts,
        "num_rows": None if counts is None else int(counts.sum()),
    }
    return {key: known[key] for key in _GIVEN if key in wanted}


def _entry(name: str) -> Entry:
    if name not in CATALOGUE:
        raise unknown_name("loss", name, CATALOGUE)
    return CATALOGUE[name]
