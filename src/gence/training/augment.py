"""Augmentation and mixup of a batch on any device.

The draws are made on the CPU, by its generators, and moved: a seed gives the same ones on every device.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST_ALPHA = 1e6
"""Of mixup: there the share is 1/2 to three digits, and Python's draw, which never ends for huge ones, is quick."""


def random_crop(images: Tensor, generator: torch.Generator, padding: int | None = None) -> Tensor:
    """Surround each image with zeros and cut a window of its old size out of it, at a place of its own.

    The zeros are those of the given scale: of standardised images they are the mean.

    Args:
        images: `(N, C, H, W)`, floating point.
        generator: Of the offsets, each of the `(2 padding + 1)^2` as likely as another.
        padding: Zeros on every side. By default 4, as is usual for images of 32 pixels, and less for smaller ones: an
            eighth of the shorter side, at least 1.

    Returns:
        `(N, C, H, W)`.

    Raises:
        ValueError: If `images` are not images, or `padding` is negative.

    Example:
        >>> images = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
        >>> random_crop(images, torch.Generator().manual_seed(2), padding=1)[0, 0]
        tensor([[0., 0., 0.],
                [0., 1., 2.],
                [0., 4., 5.]])
    """
    _check_images(images)
    height, width = images.shape[-2:]
    if padding is None:
        padding = min(4, max(1, min(height, width) // 8))
    if padding < 0:
        raise ValueError(f"padding must be at least 0; got {padding}")
    offsets = torch.randint(2 * padding + 1, (2, len(images)), generator=generator)
    top, left = offsets.to(images.device, non_blocking=True)
    windows = F.pad(images, [padding] * 4).unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(images), device=images.device), :, top, left]


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image left to right with probability 1/2.

    Args:
        images: `(N, C, H, W)`, floating point.
        generator: Of the choice.

    Returns:
        `(N, C, H, W)`.

    Raises:
        ValueError: If `images` are not images.

    Example:
        >>> random_flip(torch.tensor([1.0, 2.0]).expand(3, 1, 1, 2), torch.Generator().manual_seed(0)).flatten(1)
        tensor([[2., 1.],
                [1., 2.],
                [2., 1.]])
    """
    _check_images(images)
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored.to(images.device, non_blocking=True)[:, None, None, None], images.flip(-1), images)


def mixup(inputs: Tensor, generator: torch.Generator, alpha: float) -> tuple[Tensor, float, Tensor]:
    r"""Mix every row with a partner, in one share for the whole batch.

    .. math:: \tilde x_i = \lambda x_i + (1 - \lambda) x_{\pi(i)}, \quad \lambda \sim \mathrm{Beta}(\alpha, \alpha)

    The loss of the mixed rows is mixed alike, :math:`\lambda \ell(z, y) + (1 - \lambda) \ell(z, y_\pi)`.

    Args:
        inputs: `(N, ...)`, floating point.
        generator: Of the share and of the permutation.
        alpha: Positive, at most 1e6; the smaller, the nearer is the share to 0 or 1.

    Returns:
        The mixed rows `(N, ...)`, :math:`\lambda`, and the partners :math:`\pi` `(N)` on the device of `inputs`.

    Raises:
        ValueError: If `alpha` is out of range, or `inputs` are not floating point.

    Example:
        >>> mixed, share, partner = mixup(torch.eye(3), torch.Generator().manual_seed(0), alpha=0.4)
        >>> bool((mixed == share * torch.eye(3) + (1 - share) * torch.eye(3)[partner]).all())
        True

    Reference:
        Zhang, Cissé, Dauphin, Lopez-Paz: mixup: Beyond Empirical Risk Minimization. ICLR 2018, arXiv 1710.09412,
        section 2; one share a batch, as their own code has it.
    """
    if not 0.0 < alpha <= LARGEST_ALPHA:
        raise ValueError(f"alpha of mixup must be positive and at most {LARGEST_ALPHA:g}; got {alpha}")
    if not inputs.is_floating_point():
        raise ValueError(f"mixup needs floating-point inputs; got {inputs.dtype}: call .float() on them")
    # torch's Beta draws from the global generator only.
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    share = random.Random(seed).betavariate(alpha, alpha)
    partner = torch.randperm(len(inputs), generator=generator).to(inputs.device, non_blocking=True)
    return share * inputs + (1.0 - share) * inputs[partner], share, partner


AUGMENTATIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {"crop": random_crop, "flip": random_flip}
"""Name -> what is done to the images of a batch."""


def _check_images(images: Tensor) -> None:
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(
            "augmentation needs floating-point images of shape (N, C, H, W); got "
            f"{images.dtype} of shape {tuple(images.shape)}: ask for none where rows are no images"
        )
