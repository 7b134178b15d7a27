"""A calibrated network with the methods of a scikit-learn classifier."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from joblib.parallel import get_active_backend
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from gence._errors import InputError
from gence.classifier import EarlyStopping, Labelled, Settings, Task, fit_network
from gence.data.columns import fit_columns
from gence.integrations.sklearn.columns import has_other_than_numbers, is_frame, numbered
from gence.integrations.sklearn.rows import as_repetitions, at_most, checked_weight, class_costs, folds_of
from gence.integrations.sklearn.scores import as_decision, as_probabilities, decided
from gence.losses import catalogue as losses
from gence.losses.written import WrittenLoss, parse_loss
from gence.training import batches_an_epoch

_UPDATES, _FEWEST_EPOCHS = 300, 10
_NUMBERS: dict[str, Any] = {"dtype": [np.float64, np.float32], "ensure_all_finite": "allow-nan"}


class GenCEClassifier(ClassifierMixin, BaseEstimator):
    r"""A multilayer perceptron trained with any loss of gence, and calibrated on rows that were held out from it.

    The rows are dealt into `cv` folds, and a network trained on the others gives logits for each. The calibrator is
    fitted on these; then the network is trained on all rows, and given that calibrator. Copies of a row share a fold,
    and the order of the rows does not matter for the folds.

    **Class weights** are the costs of a decision, and leave the probabilities as they are: `predict` takes
    :math:`\arg\max_k w_k\, p_k(x)`, and `predict_proba` gives p(x), the posterior under the class shares of the
    training rows. With `gence`, `gence_moving` and `gence_prior` they weigh the terms of the loss, too, which does not
    move its minimum where the model can be right everywhere (docs/theory.md, section 4). Any other loss they would
    bend, at a strength other than 1 these as well, so there they stay out of it. `LogisticRegression` and the others of
    scikit-learn give the re-weighted posterior.

    **Frames** with text, dates, categories or gaps are read as `gence compare` reads a table; a category that training
    did not have counts as "other" or as none of the known ones. Arrays, and frames of numbers and booleans, are taken
    as they are. NaN is filled with the column's median, and every column is standardised, by the training rows.
    float32 stays float32; all else is computed in float64.

    Args:
        loss: As written for `gence compare`: a name, with knobs if need be, `"focal:gamma=1"`.
        calibrate: A name of `gence.calibration.catalogue`, `"auto"` for the one with the lowest NLL in cross-validation
            on the held-out logits, or None for no calibrator; then nothing is held out.
        hidden: Widths of the hidden layers; `()` is a linear model.
        epochs: Passes over the rows; about 300 updates, 10 epochs at least, if None. With `early_stopping` the most.
        batch_size: Rows a batch, at least. GenCE wants more of them than there are classes.
        learning_rate: At the start of a cosine.
        weight_decay: L2 penalty.
        class_weight: {label: weight}, `"balanced"` for n / (K n_k), or None for 1 each; see above.
        labels_per_class: Fit on at most so many rows of each class, drawn with `random_state`, the smaller budget's
            among the larger's; on all if None.
        cv: How many folds; or a splitter or splits in which every row is held out once at most, from a network that
            gets all other rows.
        early_stopping: Whether each training ends, and goes back to its best epoch, when the NLL of rows set apart no
            longer falls.
        validation_fraction: The share of rows set apart for that.
        n_iter_no_change: Epochs without a lower NLL after which a training ends.
        n_jobs: Folds at a time, as joblib counts them. Inside of another parallel loop, such as that of a
            `GridSearchCV`, the folds run one after another.
        device: Where the network is trained and predicts.
        random_state: Of the rows drawn, folds, weights and batches.

    Attributes:
        classes_: The labels, sorted.
        n_features_in_: Columns of X.
        feature_names_in_: Their names, if X was a frame.
        network_: The `gence.classifier.Network`; its `model` is the module, its `standardize` the preprocessing,
            and its `cautions` what the loss warned of.
        calibrator_: Fitted on the held-out logits; `calibrator_.summary` and `.remarks` say what was found.
        why_: A sentence on the choice of the calibrator, or on why there is none; empty where it was named.
        held_out_: The `gence.classifier.HeldOut` logits, before the calibrator; None without one.
        n_iter_: Epochs of the final training, up to the best one with `early_stopping`.
        rows_: Numbers of the rows it was fitted on.
        class_weight_: The costs, one a class.
        encoder_: The `gence.data.encoder.ColumnEncoder` of a frame with more than numbers, else None.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> model = GenCEClassifier(epochs=30, random_state=0).fit(*load_iris(return_X_y=True))
        >>> model.predict_proba([[5.0, 3.5, 1.4, 0.2]]).round(1), model.predict([[5.0, 3.5, 1.4, 0.2]])
        (array([[1., 0., 0.]]), array([0]))

    Reference:
        Zhan, Zhou and Shen, arXiv 2604.06689.
    """

    def __init__(
        self,
        loss: str = "gence",
        *,
        calibrate: str | None = "ats",
        hidden: Sequence[int] = (128,),
        epochs: int | None = None,
        batch_size: int = 256,
        learning_rate: float = 0.05,
        weight_decay: float = 5e-4,
        class_weight: dict[Any, float] | str | None = None,
        labels_per_class: int | None = None,
        cv: int | Iterable[Any] | Any = 3,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        n_jobs: int | None = None,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.loss = loss
        self.calibrate = calibrate
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.class_weight = class_weight
        self.labels_per_class = labels_per_class
        self.cv = cv
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.n_jobs = n_jobs
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> GenCEClassifier:
        """Fit network and calibrator.

        Args:
            X: `(rows, columns)`, numbers with NaN where one is missing, or a pandas frame.
            y: Labels, `(rows,)`.
            sample_weight: How much each row counts, `(rows,)`. Whole numbers (of a mean up to 100) count as that many
                copies of the row; all others are scaled to a mean of 1 and met on average over the epochs. Rows of
                weight 0 are left out.

        Raises:
            InputError: If a setting, weight or column cannot be used, or there are fewer than two classes.
            ValueError: If scikit-learn finds fault with X or y.
            FloatingPointError: If the training diverges.
        """
        settings, stopping = self._settings(), self._stopping()  # before a row is read, as they may be wrong
        inputs, y = self._read_training(X, y)
        weight = checked_weight(sample_weight, len(y))
        rows = np.arange(len(y)) if weight is None else np.flatnonzero(weight)
        if self.labels_per_class is not None:
            rows = at_most(self.labels_per_class, np.unique(y, return_inverse=True)[1], rows, seed=settings.seed)
        self.classes_, labels = np.unique(y[rows], return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(
                f"rows of at least two classes are needed to learn from; got {len(rows)} rows that count, of 1 class"
            )
        if weight is not None:
            weight = as_repetitions(weight[rows])
        self.class_weight_ = class_costs(self.class_weight, self.classes_, labels, weight)
        in_loss = self.class_weight is not None and _bears_class_weights(parse_loss(self.loss))
        labelled = Labelled(inputs[rows], labels, weight)
        if settings.epochs is None:
            batches = batches_an_epoch(len(labelled.repeats()), settings.batch_size)
            settings = dataclasses.replace(settings, epochs=max(round(_UPDATES / batches), _FEWEST_EPOCHS))
        fitted = fit_network(
            Task(
                labelled,
                "table",
                len(self.classes_),
                self.class_weight_ if in_loss else None,
                "float32" if inputs.dtype == np.float32 else "float64",
                self.device,
            ),
            settings,
            choose_epochs=False,
            hold_out=False,
            early_stopping=stopping,
            jobs=None if _in_parallel() else self.n_jobs,
            fold=None if isinstance(self.cv, int) else folds_of(self.cv, inputs, y)[rows],
        )
        self.network_, self.calibrator_, self.why_ = fitted.network, fitted.calibrator, fitted.why
        self.n_iter_, self.rows_ = fitted.epochs, rows
        held_out = fitted.held_out
        self.held_out_ = None if held_out is None else dataclasses.replace(held_out, rows=rows[held_out.rows])
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Calibrated logits plus the logarithm of the class weights.

        Returns:
            float64 `(rows, classes)`; for two classes `(rows,)`, the second's less the first's.
        """
        return as_decision(self._logits(X) + np.log(self.class_weight_))

    def predict(self, X: Any) -> np.ndarray:
        """The label with the highest class weight times probability, `(rows,)`."""
        scores = self.decision_function(X)
        return decided(self.classes_, scores)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Calibrated probabilities, float64 `(rows, classes)`; class weights do not bend them."""
        return as_probabilities(self._logits(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _settings(self) -> Settings:
        return Settings(
            loss=self.loss,
            calibrate="none" if self.calibrate is None else self.calibrate,
            hidden=self._widths(),
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            folds=self.cv if isinstance(self.cv, int) else 2,
            seed=int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max)),
        )

    def _widths(self) -> tuple[int, ...]:
        if isinstance(self.hidden, Iterable) and not isinstance(self.hidden, str):
            return tuple(self.hidden)
        raise InputError(f"hidden must hold the widths of the hidden layers; got {self.hidden!r}: (64,) is one layer")

    def _stopping(self) -> EarlyStopping | None:
        return EarlyStopping(self.validation_fraction, self.n_iter_no_change) if self.early_stopping else None

    def _read_training(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        if has_other_than_numbers(X):
            y = _validated(self, y=y)
            _validated(self, X, skip_check_array=True)
            check_consistent_length(X, y)
            self.encoder_ = fit_columns(numbered(X), "X")
            inputs = self.encoder_.encode(numbered(X), "X").values
        else:
            self.encoder_ = None
            inputs, y = _validated(self, X, y, **_NUMBERS)
        check_classification_targets(y)
        return inputs, y

    def _read(self, X: Any) -> np.ndarray:
        if self.encoder_ is None:
            return _validated(self, X, reset=False, **_NUMBERS)
        if not is_frame(X):
            names = ", ".join(column.name for column in self.encoder_.columns)
            raise InputError(f"X must be a pandas frame with the columns of training, {names}; got {type(X).__name__}")
        _validated(self, X, reset=False, skip_check_array=True)
        return self.encoder_.encode(numbered(X), "X").values

    def _logits(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return self.calibrator_(self.network_.logits(self._read(X)).double()).numpy()


def _validated(*args: Any, **settings: Any) -> Any:
    """`validate_data`, whose hints know fewer kinds of X and y than it does."""
    return validate_data(*args, **settings)


def _in_parallel() -> bool:
    """Whether this is already one of several jobs of joblib.

    More jobs would then be threads, which share the random state that weights are drawn from.
    """
    backend: Any = get_active_backend()[0]
    return bool(backend.nesting_level) or getattr(backend, "supports_sharedmem", False)


def _bears_class_weights(loss: WrittenLoss) -> bool:
    """Whether class weights leave the minimum of the loss where it is."""
    whole = loss.knobs().get("strength", 1.0) == 1.0
    return loss.name.startswith("gence") and losses.CATALOGUE[loss.name].proper != "no" and whole
