"""The training loop, augmentation and prediction: they receive a model, tensors and a loss, and no more of gence."""

from gence.training.augment import AUGMENTATIONS, mixup, random_crop, random_flip
from gence.training.loop import Recipe, batches_an_epoch, shuffled_batches, train
from gence.training.predict import predict

__all__ = [
    "AUGMENTATIONS",
    "Recipe",
    "batches_an_epoch",
    "mixup",
    "predict",
    "random_crop",
    "random_flip",
    "shuffled_batches",
    "train",
]
