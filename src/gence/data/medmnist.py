"""MedMNIST: medical images of 28 x 28 pixels, from the .npz files of its authors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gence._errors import InputError
from gence.data.dataset import LabelledData
from gence.data.facts import Facts, Recipe
from gence.data.npz_file import load_npz, read_array
from gence.data.request import Request
from gence.data.wording import listing

HOMEPAGE = "https://zenodo.org/records/10519652"
"""Where the files of release 3 lie, one a subset."""

MULTI_LABEL = "medmnist/chestmnist"
"""The one subset whose images have several labels each."""

_AGAIN = f"download it again from {HOMEPAGE}"
_ORGANS = (
    "bladder",
    "femur-left",
    "femur-right",
    "heart",
    "kidney-left",
    "kidney-right",
    "liver",
    "lung-left",
    "lung-right",
    "pancreas",
    "spleen",
)


def read_medmnist(path: Path, class_names: tuple[str, ...], request: Request) -> LabelledData:
    """Read the training and the test rows of one subset; the validation rows are left out.

    They are left out because a study keeps calibration rows of its own from the labelled ones, and because published
    results are trained on the training rows alone.

    Args:
        path: The file, with `train_images` `(rows, height, width)` or `(rows, height, width, 3)`, `train_labels`
            `(rows, 1)`, and the same for `test`. Nothing is unpickled.
        class_names: What the numbers in the labels stand for.
        request: What was asked for.

    Raises:
        InputError: If the file is damaged or of another layout.
    """
    splits = ("test",) if request.test_only else ("train", "test")
    with path.open("rb") as stream, load_npz(stream, path, _AGAIN) as file:
        wanted = [f"{split}_{part}" for split in splits for part in ("images", "labels")]
        absent = [name for name in wanted if name not in file.files]
        if absent:
            raise InputError(f"{path}: no {listing(absent)} among {listing(file.files) or 'no arrays'}; {_AGAIN}")
        arrays = {name: read_array(file, name, path) for name in wanted}
        unused = ("not used, beside train, test: val",) if "val_images" in file.files else ()
    images = [_channels_first(arrays[f"{split}_images"], f"{split}_images", path) for split in splits]
    labels = [_numbers(arrays[f"{split}_labels"], f"{split}_labels", len(class_names), path) for split in splits]
    for split, rows, numbers in zip(splits, images, labels, strict=True):
        if len(rows) != len(numbers) or rows.shape[1:] != images[0].shape[1:]:
            raise InputError(
                f"{path}: {split}_images has the shape {arrays[f'{split}_images'].shape}, which does not fit "
                f"{len(numbers)} labels and rows of shape {images[0].shape[1:]}; {_AGAIN}"
            )
    # Filled and not concatenated, which would keep the channels last in memory.
    inputs = np.empty((sum(map(len, images)), *images[0].shape[1:]), np.uint8)
    np.concatenate(images, out=inputs)
    return LabelledData(
        name=request.name,
        kind="image",
        inputs=inputs,
        labels=np.concatenate(labels),
        class_names=class_names,
        test_rows=None if request.test_only else np.arange(len(images[0]), len(inputs)),
        notes=() if request.test_only else unused,
    )


def _channels_first(images: np.ndarray, name: str, path: Path) -> np.ndarray:
    if images.dtype != np.uint8 or not (images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)):
        raise InputError(
            f"{path}: {name} is {images.dtype} of shape {images.shape}; uint8 (rows, height, width) or (rows, height, "
            f"width, 3) is expected; {_AGAIN}"
        )
    return images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)


def _numbers(labels: np.ndarray, name: str, classes: int, path: Path) -> np.ndarray:
    if labels.dtype.kind not in "iu" or labels.ndim != 2 or labels.shape[1] != 1:
        raise InputError(
            f"{path}: {name} is {labels.dtype} of shape {labels.shape}; whole numbers (rows, 1) are expected; {_AGAIN}"
        )
    numbers = labels[:, 0].astype(np.int64)
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < classes):
        raise InputError(
            f"{path}: {name} holds class numbers from {numbers.min()} to {numbers.max()}; 0 to {classes - 1} are "
            f"expected; {_AGAIN}"
        )
    return numbers


def _subset(
    name: str,
    title: str,
    rows: tuple[int, int],
    channels: int,
    class_names: tuple[str, ...],
    *,
    earlier: tuple[int, int] | None = None,
    note: str = "",
) -> tuple[str, Recipe]:
    def facts(train_rows: int, test_rows: int) -> Facts:
        return Facts(train_rows, test_rows, len(class_names), (channels, 28, 28))

    return f"medmnist/{name}", Recipe(
        title=title,
        reference="Yang et al. 2023, arXiv 2110.14795",
        facts=facts(*rows),
        earlier=() if earlier is None else (facts(*earlier),),
        file=f"{name}.npz",
        class_names=class_names,
        note=note,
    )


_PATH = (
    "adipose",
    "background",
    "debris",
    "lymphocytes",
    "mucus",
    "smooth muscle",
    "normal colon mucosa",
    "cancer-associated stroma",
    "colorectal adenocarcinoma epithelium",
)
_DERMA = (
    "actinic keratoses and intraepithelial carcinoma",
    "basal cell carcinoma",
    "benign keratosis-like lesions",
    "dermatofibroma",
    "melanoma",
    "melanocytic nevi",
    "vascular lesions",
)
_OCT = ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal")
_BLOOD = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "immature granulocytes",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "platelet",
)
_TISSUE = (
    "collecting duct, connecting tubule",
    "distal convoluted tubule",
    "glomerular endothelial cells",
    "interstitial endothelial cells",
    "leukocytes",
    "podocytes",
    "proximal tubule segments",
    "thick ascending limb",
)
_GRADES = "the grades 0 to 4 are ordered, and here they are treated as classes without an order"

# Release 3 took a few images out of the three sets of organs; files of release 2, the paper's, are read as well.
MEDMNIST: dict[str, Recipe] = dict(
    (
        _subset("pathmnist", "colon tissue under the microscope", (89_996, 7_180), 3, _PATH),
        _subset("dermamnist", "pigmented skin lesions", (7_007, 2_005), 3, _DERMA),
        _subset("octmnist", "optical coherence tomography of the retina", (97_477, 1_000), 1, _OCT),
        _subset("pneumoniamnist", "chest X-rays of children", (4_708, 624), 1, ("normal", "pneumonia")),
        _subset("retinamnist", "photographs of the retina", (1_080, 400), 3, tuple("01234"), note=_GRADES),
        _subset("breastmnist", "ultrasound of the breast", (546, 156), 1, ("malignant", "normal, benign")),
        _subset("bloodmnist", "blood cells under the microscope", (11_959, 3_421), 3, _BLOOD),
        _subset("tissuemnist", "cells of the kidney cortex", (165_466, 47_280), 1, _TISSUE),
        _subset("organamnist", "abdominal CT, axial", (34_561, 17_778), 1, _ORGANS, earlier=(34_581, 17_778)),
        _subset("organcmnist", "abdominal CT, coronal", (12_975, 8_216), 1, _ORGANS, earlier=(13_000, 8_268)),
        _subset("organsmnist", "abdominal CT, sagittal", (13_932, 8_827), 1, _ORGANS, earlier=(13_940, 8_829)),
    )
)
"""Name -> every subset of two-dimensional images with one label each."""
