"""The training loop, augmentation and prediction: they receive a model, tensors and a loss, and no more of gence."""

from gence.training.augment import AUGMENTATIONS, mixup, random_crop, random_flip
from gence.training.determinism import deterministic
from gence.training.loop import shuffled_batches, train
from gence.training.pilot import StepTime, flops, time_step
from gence.training.predict import predict
from gence.training.recipe import Recipe, batches_an_epoch, usual_epochs
from gence.training.repeats import copies
from gence.training.schedule import learning_rate

__all__ = [
    "AUGMENTATIONS",
    "Recipe",
    "StepTime",
    "batches_an_epoch",
    "copies",
    "deterministic",
    "flops",
    "learning_rate",
    "mixup",
    "predict",
    "random_crop",
    "random_flip",
    "shuffled_batches",
    "time_step",
    "train",
    "usual_epochs",
]
