"""XGBoost with its own softmax, with GenCE, and with prior-aware GenCE on a table with rare classes.

GenCE is not worth it here for better trees, only where a comparison asks for it: boosting looks at all rows in every
round, where GenCE and cross-entropy lead to about the same trees. Prior-aware training gives two predictions from one
model, and softmax gives them too once the logarithm of the class shares is taken off its scores (all are printed).

python examples/xgboost_table.py    # some seconds; needs pip install 'gence[boosting]' scikit-learn
"""

from __future__ import annotations

import numpy as np
import torch
import xgboost
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gence.integrations.boosting import GenerativeObjective, log_prior, probabilities
from gence.metrics import balanced_accuracy, negative_log_likelihood

ROUNDS = 40


def thinned(y: np.ndarray, imbalance: float = 20.0) -> np.ndarray:
    """Row numbers: all rows of class 0, a twentieth of class 9, geometrically in between."""
    kept = [np.flatnonzero(y == k) for k in range(10)]
    return np.concatenate([rows[: round(len(rows) * imbalance ** (-k / 9))] for k, rows in enumerate(kept)])


def main() -> None:
    x, x_test, y, y_test = train_test_split(*load_digits(return_X_y=True), test_size=0.5, random_state=0)
    rows, rows_test = thinned(y), thinned(y_test)
    counts = np.bincount(y[rows])
    train, test = xgboost.DMatrix(x[rows], y[rows]), xgboost.DMatrix(x_test)
    settings = {"objective": "multi:softprob", "num_class": 10, "max_depth": 3, "eta": 0.3, "nthread": 2}

    softmax = xgboost.train(settings, train, ROUNDS)
    start = log_prior(counts).tolist()
    plain = xgboost.train(settings | {"base_score": start}, train, ROUNDS, obj=GenerativeObjective())
    objective = GenerativeObjective(class_counts=counts)
    aware = xgboost.train(settings | {"base_score": [0.0] * 10}, train, ROUNDS, obj=objective)

    def raw(trees: xgboost.Booster) -> np.ndarray:
        return trees.predict(test, output_margin=True)

    predictions = {  # for classes as in training, and for balanced ones
        "softmax": (probabilities(raw(softmax)), probabilities(raw(softmax) - log_prior(counts))),
        "GenCE": (probabilities(raw(plain)), probabilities(raw(plain) - log_prior(counts))),
        "prior-aware GenCE": (probabilities(raw(aware), counts), probabilities(raw(aware))),
    }
    print(f"{len(rows)} training rows, from {counts.max()} to {counts.min()} a class\n")
    print(f"{'':18} {'NLL, classes as in training':>30} {'balanced accuracy':>20} {'of balanced prediction':>24}")
    target = torch.as_tensor(y_test)
    for name, (as_trained, balanced) in predictions.items():
        nll = negative_log_likelihood(torch.as_tensor(as_trained[rows_test]), target[rows_test])
        scores = [balanced_accuracy(torch.as_tensor(one), target) for one in (as_trained, balanced)]
        print(f"{name:18} {nll:30.3f} {scores[0]:20.3f} {scores[1]:24.3f}")


if __name__ == "__main__":
    main()
