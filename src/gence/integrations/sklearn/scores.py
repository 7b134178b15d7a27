"""From calibrated logits to what scikit-learn asks a classifier for."""

from __future__ import annotations

import numpy as np


def as_decision(logits: np.ndarray) -> np.ndarray:
    """The logits `(rows, classes)`; for two classes `(rows,)`, the second's less the first's."""
    return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits


def decided(classes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The label with the highest score, `(rows,)`, from what `as_decision` gives."""
    return classes[(scores > 0.0).astype(int) if scores.ndim == 1 else scores.argmax(1)]


def as_probabilities(logits: np.ndarray) -> np.ndarray:
    """The softmax of each row."""
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)
