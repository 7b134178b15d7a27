"""Bootstrap intervals: how far a metric may be from its value on all the rows there could have been."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from gence.metrics._counted import Counted, Metric, counted
from gence.metrics._predictions import Array, check_predictions

Method = Literal["basic", "percentile", "centred"]

_AT_ONCE = 2**23  # row counts held at a time, in float64: 64 MiB


@dataclass(frozen=True)
class Interval:
    """A metric's value on the rows given, and the interval of its value on rows like them.

    Attributes:
        value: The metric, or the difference of two.
        low: Lower end. The interval of a biased metric, such as ECE, need not hold `value` (see `bootstrap_interval`).
        high: Upper end.
        level: The share of such intervals that is to hold the truth.
        resamples: How many resamples the interval stands on.
        method: How its ends were found: `"basic"`, `"percentile"` or `"centred"`.
    """

    value: float
    low: float
    high: float
    level: float
    resamples: int
    method: Method


def bootstrap_interval(
    metric: Metric,
    probs: Array,
    target: Array,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    method: Method | None = None,
    seed: int = 0,
) -> Interval:
    r"""The interval of a metric from resamples of the rows, drawn with replacement.

    With m the metric on the rows, :math:`q_\alpha` a quantile of it over the resamples and d their mean less m:

    .. math:: \text{basic: } [2m - q_{1-\alpha/2},\; 2m - q_{\alpha/2}] \quad
        \text{percentile: } [q_{\alpha/2},\; q_{1-\alpha/2}] \quad
        \text{centred: } [q_{\alpha/2} - d,\; q_{1-\alpha/2} - d]

    For accuracy, NLL and Brier score the three agree. A calibration error is not so harmless: chance raises it, and a
    resample, which adds chance of its own, raises it again. For calibrated rows the percentile interval of ECE never
    holds the truth, which is 0; the basic one, which takes the rise off once, holds it half the time. Only the debiased
    l2 error has an interval to trust near calibration: on its squares, which have no bias, the centred one covers.
    Share of 95 % intervals that held the truth in 400 simulations (10 classes, 15 bins, logits too large by a factor;
    `docs/metrics/coverage.py`):

    | factor | rows | ECE, percentile | ECE, basic | debiased l2, centred |
    | -----: | ---: | --------------: | ---------: | -------------------: |
    |    1.0 |  500 |            0.00 |       0.51 |                 1.00 |
    |    1.0 | 2000 |            0.00 |       0.55 |                 1.00 |
    |    1.1 |  500 |            0.00 |       0.88 |                 1.00 |
    |    1.1 | 2000 |            0.59 |       0.88 |                 1.00 |
    |    1.2 |  500 |            0.47 |       0.87 |                 0.99 |
    |    1.2 | 2000 |            0.92 |       0.87 |                 0.97 |
    |    1.6 |  500 |            0.92 |       0.92 |                 0.98 |
    |    1.6 | 2000 |            0.95 |       0.94 |                 0.95 |

    So the default is centred for the debiased l2 error and basic for all else, cut to the values the metric can take.

    Args:
        metric: Any function of (probs, target) that gives one number: one of this package, `functools.partial` of one
            for its keywords, or your own. Those of this package are computed on all resamples at once.
        probs: Class probabilities, `(rows, classes)`, each row summing to 1.
        target: Class numbers, integers `(rows,)`.
        resamples: Number of resamples, at least 2.
        level: The share of intervals that is to hold the truth, between 0 and 1.
        method: `"basic"`, `"percentile"`, `"centred"`, or None for the one that suits the metric.
        seed: Fixes the resamples: the same for every metric and every model on as many rows.

    Raises:
        ValueError: If the predictions or the settings are not as described, or the metric does not give one number.

    Example:
        >>> from gence.metrics import accuracy
        >>> probs, target = torch.tensor([[0.9, 0.1]]).repeat(100, 1), torch.arange(100) % 5 // 4
        >>> interval = bootstrap_interval(accuracy, probs, target)
        >>> f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
        '0.80 [0.72, 0.89]'

    Reference:
        Efron and Tibshirani 1993, An introduction to the bootstrap, chapter 13; Davison and Hinkley 1997, equation 5.6.
    """
    return bootstrap_intervals({"": metric}, probs, target, resamples=resamples, level=level, method=method, seed=seed)[
        ""
    ]


def bootstrap_intervals(
    metrics: Mapping[str, Metric],
    probs: Array,
    target: Array,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    method: Method | None = None,
    seed: int = 0,
) -> dict[str, Interval]:
    """The interval of each metric, as of `bootstrap_interval`, with the rows drawn once for all of them.

    Args:
        metrics: Name -> metric.
        probs: Class probabilities, `(rows, classes)`, each row summing to 1.
        target: Class numbers, integers `(rows,)`.
        resamples: Number of resamples, at least 2.
        level: The share of intervals that is to hold the truth, between 0 and 1.
        method: `"basic"`, `"percentile"`, `"centred"`, or None for the one that suits the metric.
        seed: Fixes the resamples.

    Returns:
        The intervals under the same names.

    Raises:
        ValueError: If the predictions or the settings are not as described, or a metric does not give one number.

    Example:
        >>> from gence.metrics import accuracy, brier_score
        >>> probs, target = torch.tensor([[0.9, 0.1]]).repeat(100, 1), torch.arange(100) % 5 // 4
        >>> intervals = bootstrap_intervals({"accuracy": accuracy, "brier": brier_score}, probs, target)
        >>> {name: round(interval.low, 2) for name, interval in intervals.items()}
        {'accuracy': 0.72, 'brier': 0.2}
    """
    _check_settings(resamples, level, method)
    probs, target = check_predictions(probs, target)
    values = {name: _number(metric, probs, target) for name, metric in metrics.items()}
    forms = {name: counted(metric, probs, target) for name, metric in metrics.items()}
    drawn = _resampled(forms, target, resamples, seed)
    return {
        name: _interval(values[name], *_values(form, drawn[name], target, method), level, form.bounds)
        for name, form in forms.items()
    }


def bootstrap_difference(
    metric: Metric,
    probs_a: Array,
    probs_b: Array,
    target: Array,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    method: Method | None = None,
    seed: int = 0,
) -> Interval:
    """The interval of metric(a) - metric(b) for two models or calibrators on the same rows, as of `bootstrap_interval`.

    The same rows are drawn for both, so what makes a row hard for both cancels. For a metric where low is good, an
    interval below 0 says that a is better. To compare calibration take the debiased l2 error: of overconfident rows
    less calibrated ones, its 95 % interval held the truth in 0.97 (500 rows) and 0.92 (2000) of 150 simulations, that
    of ECE in 0.60 and 0.75.

    Args:
        metric: As for `bootstrap_interval`.
        probs_a: Class probabilities of the first, `(rows, classes)`.
        probs_b: Class probabilities of the second, for the same rows in the same order.
        target: Class numbers, integers `(rows,)`.
        resamples: Number of resamples, at least 2.
        level: The share of intervals that is to hold the truth, between 0 and 1.
        method: `"basic"`, `"percentile"`, `"centred"`, or None for the one that suits the metric.
        seed: Fixes the resamples.

    Raises:
        ValueError: If the predictions or the settings are not as described, or the metric does not give one number.

    Example:
        >>> from gence.metrics import brier_score
        >>> a, b = torch.tensor([[0.8, 0.2]]).repeat(100, 1), torch.tensor([[0.9, 0.1]]).repeat(100, 1)
        >>> interval = bootstrap_difference(brier_score, a, b, torch.arange(100) % 5 // 4)
        >>> interval.value < 0, interval.high < 0  # better on these rows, perhaps not on all
        (True, False)
    """
    _check_settings(resamples, level, method)
    probs_a, numbers = check_predictions(probs_a, target)
    probs_b, _ = check_predictions(probs_b, target)
    value = _number(metric, probs_a, numbers) - _number(metric, probs_b, numbers)
    forms = {"a": counted(metric, probs_a, numbers), "b": counted(metric, probs_b, numbers)}
    drawn = _resampled(forms, numbers, resamples, seed)
    (a, used), (b, _) = (_values(form, drawn[name], numbers, method) for name, form in forms.items())
    return _interval(value, a - b, used, level, (-torch.inf, torch.inf))


def row_counts(rows: int, resamples: int, seed: int) -> Iterator[Tensor]:
    """How often each row was drawn: float64 `(some resamples, rows)` at a time, a line for each resample."""
    generator = torch.Generator().manual_seed(seed)
    at_once = max(1, _AT_ONCE // rows)
    for start in range(0, resamples, at_once):
        drawn = torch.randint(rows, (min(at_once, resamples - start), rows), generator=generator)
        counts = torch.zeros(drawn.shape, dtype=torch.float64)
        yield counts.scatter_add_(1, drawn, torch.ones((), dtype=torch.float64).expand(drawn.shape))


def _resampled(forms: Mapping[str, Counted], target: Tensor, resamples: int, seed: int) -> dict[str, Tensor]:
    """The pivot of every form on every resample."""
    pivots: dict[str, list[Tensor]] = {name: [] for name in forms}
    for counts in row_counts(len(target), resamples, seed):
        here = counts.to(target.device)
        for name, form in forms.items():
            pivots[name].append(form.pivot(here))
    return {name: torch.cat(parts) for name, parts in pivots.items()}


def _values(form: Counted, pivots: Tensor, target: Tensor, method: Method | None) -> tuple[Tensor, Method]:
    """The metric on every resample, moved to the rows' own value if `method` centres, and the method that was used."""
    method = method or form.method
    if method == "centred":
        once = torch.ones(1, len(target), dtype=torch.float64, device=target.device)
        pivots = pivots - (pivots.mean() - form.pivot(once))
    return (pivots if form.finish is None else form.finish(pivots)), method


def _interval(value: float, drawn: Tensor, method: Method, level: float, bounds: tuple[float, float]) -> Interval:
    tail = (1.0 - level) / 2.0
    low, high = drawn.quantile(torch.tensor([tail, 1.0 - tail], dtype=torch.float64, device=drawn.device)).tolist()
    if method == "basic":
        low, high = 2.0 * value - high, 2.0 * value - low
    low, high = (min(max(end, bounds[0]), bounds[1]) for end in (low, high))
    return Interval(value, low, high, level, len(drawn), method)


def _number(metric: Metric, probs: Tensor, target: Tensor) -> float:
    value = torch.as_tensor(metric(probs, target), dtype=torch.float64)
    if value.numel() != 1:
        raise ValueError(f"a metric must give one number for (probs, target); got shape {tuple(value.shape)}")
    return value.item()


def _check_settings(resamples: int, level: float, method: str | None) -> None:
    if resamples < 2:
        raise ValueError(f"resamples must be at least 2; got {resamples}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, like 0.95; got {level}")
    if method is not None and method not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(get_args(Method))}; got {method!r}")
