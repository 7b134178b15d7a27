"""What the folds say of calibrated accuracy where the labels are pure chance: `python docs/fit/chance.py`.

Three classes drawn at random for 90 rows of eight random columns, 12 times over; the truth is 1/3. It takes about a
minute on one core and writes nothing.
"""

import numpy as np

from gence.classifier import Labelled, Settings, Task, cross_calibrated, fit_network

ROWS, SEEDS = 90, 12


def accuracy(calibrator: str, seed: int) -> float:
    generator = np.random.default_rng(seed)
    rows = Labelled(generator.normal(size=(ROWS, 8)), generator.integers(0, 3, ROWS))
    settings = Settings(calibrate=calibrator, epochs=100, seed=seed)
    held_out = fit_network(Task(rows, "table", 3), settings).held_out
    assert held_out is not None
    calibrated = cross_calibrated(held_out, calibrator, seed=seed)
    return float((calibrated.argmax(1).numpy() == held_out.labels).mean())


if __name__ == "__main__":
    for calibrator in ("none", "temperature", "vector", "dirichlet"):
        found = [accuracy(calibrator, seed) for seed in range(SEEDS)]
        error = np.std(found, ddof=1) / SEEDS**0.5
        print(f"{calibrator:12} {np.mean(found):.3f} +- {error:.3f}")
