"""What chance alone does: the calibration error that perfectly honest probabilities show on finitely many rows."""

from __future__ import annotations

import numpy as np

from gence.audit.records import Chance

_CELLS = 1 << 22  # random numbers drawn at once: 16 MiB


def honest_draws(confidence: np.ndarray, correct: np.ndarray, *, bins: int, draws: int, seed: int) -> Chance:
    r"""Draw correctness anew, right with probability `confidence`, and see what calibration error that shows.

    An ECE is never zero on finitely many rows, not even of honest probabilities; this is how large theirs would be.

    Args:
        confidence: Top confidences, `(rows,)`.
        correct: Whether the predicted class was right, `(rows,)`, 1.0 or 0.0.
        bins: Bins (l, u] of equal width, as `gence.metrics.expected_calibration_error` has them.
        draws: How often to draw.
        seed: Of the draws.

    Reference:
        Bröcker and Smith 2007, Increasing the reliability of reliability diagrams, section 3 (consistency resampling).
    """
    rows = len(confidence)
    inner_edges = np.linspace(0.0, 1.0, bins + 1)[1:-1]
    index = np.searchsorted(inner_edges, confidence)
    order = np.argsort(index, kind="stable")
    confidence, index = confidence[order], index[order]
    starts = np.flatnonzero(np.diff(index, prepend=-1))
    stated = np.add.reduceat(confidence, starts)

    def errors(events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gaps = stated - events
        return np.abs(gaps).sum(-1) / rows, np.abs(gaps.sum(-1)) / rows

    observed_ece, observed_gap = errors(np.add.reduceat(correct[order], starts))
    generator = np.random.default_rng(seed)
    chances = confidence.astype(np.float32)
    events = np.empty((draws, len(starts)))
    step = max(1, _CELLS // rows)
    for start in range(0, draws, step):
        drawn = generator.random((min(step, draws - start), rows), dtype=np.float32) < chances
        events[start : start + step] = np.add.reduceat(drawn, starts, axis=1, dtype=np.float64)
    ece, gap = errors(events)
    # The observed rows count as one of the draws, so that the share cannot be zero (a valid Monte Carlo test);
    # a draw that equals them but for the order of the sums is at least as large.
    return Chance(
        ece=float(ece.mean()),
        ece_high=float(np.quantile(ece, 0.95)),
        ece_share=float((1 + (ece >= observed_ece - 1e-9).sum()) / (1 + draws)),
        gap_share=float((1 + (gap >= observed_gap - 1e-9).sum()) / (1 + draws)),
        draws=draws,
    )
