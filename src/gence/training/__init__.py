"""The training loop and prediction: they receive a model, tensors and a loss, and know nothing else of gence."""

from gence.training.loop import Recipe, batches_an_epoch, shuffled_batches, train
from gence.training.predict import predict

__all__ = ["Recipe", "batches_an_epoch", "predict", "shuffled_batches", "train"]
