"""The arrays of a kept model on disk: weights and preprocessing as safetensors, held-out logits as .npz; no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from gence._errors import InputError
from gence.classifier.fit import HeldOut
from gence.classifier.folder import CURE
from gence.data import Standardize
from gence.data.wording import listing, one_line

_NUMBERS = ("fill", "mean", "scale")
_ARRAYS = ("logits", "labels", "rows", "fold")


def write_weights(model: nn.Module, standardize: Standardize, path: Path) -> None:
    """Write the weights of a network and the numbers of its preprocessing."""
    from safetensors.torch import save

    weights = {f"network.{name}": value.detach().cpu() for name, value in model.state_dict().items()}
    numbers = {f"standardize.{name}": torch.from_numpy(getattr(standardize, name)) for name in _NUMBERS}
    # Not `save_file`, whose files nobody but their owner may read.
    path.write_bytes(save({name: value.clone().contiguous() for name, value in (weights | numbers).items()}))


def read_weights(
    path: Path, model: nn.Module, channels: int, dtype: Literal["float32", "float64"]
) -> tuple[nn.Module, Standardize]:
    """The network with the weights of a file, in evaluation mode, and its preprocessing.

    Args:
        path: What `write_weights` wrote.
        model: The network, of any weights, on any device; the meta device costs no memory.
        channels: How many numbers each of the preprocessing must hold.
        dtype: What the preprocessing gives.

    Raises:
        InputError: If the file is damaged or of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path}: damaged, this is no safetensors file ({one_line(error)}); {CURE}") from error
    expected = {f"network.{name}": (value.shape, value.dtype) for name, value in model.state_dict().items()}
    names = {*expected, *(f"standardize.{name}" for name in _NUMBERS)}
    if tensors.keys() != names:
        other = listing(sorted(tensors.keys() ^ names), most=3)
        raise InputError(f"{path}: its tensors are not those of the network that model.json names ({other}); {CURE}")
    for name, (shape, kind) in expected.items():
        if (tensors[name].shape, tensors[name].dtype) != (shape, kind):
            raise InputError(
                f"{path}: {name} is {tuple(tensors[name].shape)} {tensors[name].dtype}; {tuple(shape)} {kind} is "
                f"expected; {CURE}"
            )
    model.load_state_dict({name.removeprefix("network."): tensors[name] for name in expected}, assign=True)
    return model.requires_grad_(False).eval(), _standardize(tensors, channels, dtype, path)


def _standardize(
    tensors: Mapping[str, Tensor], channels: int, dtype: Literal["float32", "float64"], path: Path
) -> Standardize:
    fill, mean, scale = (tensors[f"standardize.{name}"].numpy() for name in _NUMBERS)
    if {mean.shape, scale.shape} != {(channels,)} or fill.shape not in ((0,), (channels,)):
        raise InputError(
            f"{path}: its preprocessing has {mean.shape}, {scale.shape} and {fill.shape} numbers; one a channel or "
            f"column, {channels}, is expected; {CURE}"
        )
    return Standardize(fill, mean, scale, dtype)


def write_held_out(held_out: HeldOut, class_names: tuple[str, ...], path: Path) -> None:
    """Write held-out logits and labels as `gence audit` reads them, a row as often as it counts."""
    counted = held_out.repeats
    np.savez(
        path,
        logits=held_out.logits.numpy()[counted],
        labels=held_out.labels[counted],
        class_names=np.array(class_names),
        rows=held_out.rows[counted],
        fold=held_out.fold[counted],
    )


def read_held_out(path: Path, num_classes: int) -> HeldOut:
    """What `write_held_out` wrote.

    Raises:
        InputError: If the file is damaged or of other classes.
    """
    cure = f"{CURE}, or take this file away"
    try:
        # Opened here, because numpy leaves a file that it cannot read open.
        with path.open("rb") as stream:
            file = cast(np.lib.npyio.NpzFile, np.load(stream, allow_pickle=False))
            logits, labels, rows, fold = (file[name] for name in _ARRAYS)
    # What numpy and zipfile raise on a damaged file depends on where the damage is.
    except Exception as error:
        raise InputError(f"{path}: damaged ({one_line(error)}); {cure}") from error
    count = len(labels) if labels.ndim else -1
    if logits.shape != (count, num_classes) or {labels.shape, rows.shape, fold.shape} != {(count,)}:
        raise InputError(f"{path}: damaged, its arrays do not fit each other or {num_classes} classes; {cure}")
    return HeldOut(rows, fold, labels, torch.from_numpy(logits), np.arange(count))
