"""Few labels on frozen embeddings: GenCEClassifier in a pipeline, its calibration before and after, and its rivals.

Worth it here for the calibrator and for class weights that leave the probabilities alone; where we measured, GenCE
itself did not beat cross-entropy by more than chance would (README, "What we found so far").

The embeddings are made offline: a small network learns the digits 0 to 4 on half of the images, and its penultimate
features, thrown to 768 numbers by a fixed random matrix, stand in for those of a foundation model. All ten digits are
then told apart from 20 labels each. It takes about 10 seconds: python examples/sklearn_embeddings.py
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gence.integrations.sklearn import GenCEClassifier
from gence.metrics import accuracy, expected_calibration_error, negative_log_likelihood

LABELS_PER_CLASS, WIDTH = 20, 768


def embeddings() -> tuple[np.ndarray, np.ndarray]:
    """768 numbers a row, float32, and the digits, of images that the embedding network never saw."""
    X, y = load_digits(return_X_y=True)
    seen, X, seen_digits, y = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
    known = seen_digits < 5
    network = GenCEClassifier("ce", calibrate=None, hidden=(64, 64), epochs=20, batch_size=64, random_state=0)
    network.fit(seen[known], seen_digits[known])
    trained = network.network_
    with torch.no_grad():
        features = trained.model.features(torch.from_numpy(trained.standardize(X))).numpy()
    wide = np.tanh(features @ np.random.default_rng(0).normal(size=(64, WIDTH)) / 8.0)
    return wide.astype(np.float32), y


def report(name: str, probs: np.ndarray, y: np.ndarray) -> None:
    """One line: accuracy, NLL in nats, and ECE over 10 bins of equal mass."""
    p, target = torch.from_numpy(probs), torch.from_numpy(y)
    ece = expected_calibration_error(p, target, bins=10, binning="mass")
    nll = negative_log_likelihood(p, target)
    print(f"{name:29} accuracy {accuracy(p, target):6.1%}   NLL {nll:.3f}   ECE {ece:5.1%}")


def main() -> None:
    X, y = embeddings()
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.6, stratify=y, random_state=0)
    print(f"{LABELS_PER_CLASS} labels a class of {WIDTH}-dimensional embeddings; {len(y_test)} test rows")

    for loss in ("gence", "ce"):
        model = make_pipeline(
            StandardScaler(), GenCEClassifier(loss, labels_per_class=LABELS_PER_CLASS, epochs=110, cv=3, random_state=0)
        ).fit(X, y)
        classifier = model[-1]
        raw = classifier.network_.logits(model[:-1].transform(X_test)).softmax(1)
        report(f"{loss}, before the calibrator", raw.numpy(), y_test)
        report(f"{loss}, after it", model.predict_proba(X_test), y_test)
        print(f"    the calibrator: {classifier.calibrator_.summary}")

    rows = classifier.rows_  # the same seed drew the same rows for both
    other = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X[rows], y[rows])
    report("logistic regression", other.predict_proba(X_test), y_test)


if __name__ == "__main__":
    main()
