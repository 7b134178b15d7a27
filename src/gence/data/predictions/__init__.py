"""A model's predictions in a file: logits or probabilities, one column a class, usually beside the true labels."""

from gence.data.predictions.read import read_predictions
from gence.data.predictions.record import Predictions
from gence.data.predictions.write import write_probabilities

__all__ = ["Predictions", "read_predictions", "write_probabilities"]
