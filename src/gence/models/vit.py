"""A vision transformer for small images, of torch's own encoder layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class VisionTransformer(nn.Module):
    """Patches become tokens with learnt positions; encoder layers, layer norm, the mean over tokens, a linear head.

    The norm comes before attention and before the two-layer perceptron of each encoder layer; there is no dropout.
    Images whose sides are no multiple of `patch` are padded with zeros on the right and below.

    Args:
        shape: `(channels, height, width)` of the images; the positions are learnt for this size only.
        num_classes: Logits a row.
        patch: Side of a patch in pixels.
        width: Numbers a token.
        depth: Encoder layers.
        heads: Attention heads of a layer; they divide `width`.

    Example:
        >>> import torch
        >>> model = VisionTransformer((1, 8, 8), 4, width=16, depth=1, heads=2)
        >>> model.features(torch.zeros(5, 1, 8, 8)).shape, model(torch.zeros(5, 1, 8, 8)).shape
        (torch.Size([5, 16]), torch.Size([5, 4]))

    Reference: Dosovitskiy et al. 2021, An Image Is Worth 16x16 Words, arXiv 2010.11929; the mean in place of a class
    token as in Beyer et al. 2022, Better Plain ViT Baselines for ImageNet-1k, arXiv 2205.01580.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        num_classes: int,
        *,
        patch: int = 4,
        width: int = 192,
        depth: int = 6,
        heads: int = 3,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        channels, image_height, image_width = self.shape
        self.padding = (0, -image_width % patch, 0, -image_height % patch)
        tokens = -(-image_height // patch) * -(-image_width // patch)
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.positions = nn.Parameter(nn.init.trunc_normal_(torch.empty(tokens, width), std=0.02))
        # nn.TransformerEncoder would copy one layer, so that all of them start with the same weights.
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
                )
                for _ in range(depth)
            )
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features, `(rows, width)`, of images `(rows, *shape)`.

        Raises:
            ValueError: If the images are not of the shape that the model was built for.
        """
        if tuple(images.shape[1:]) != self.shape:
            raise ValueError(
                f"images must be (rows, {', '.join(map(str, self.shape))}), the size whose positions the model learns, "
                f"got {tuple(images.shape)}; resize them or build a model for their size"
            )
        tokens = self.patches(F.pad(images, self.padding)).flatten(2).transpose(1, 2)
        return self.norm(self.layers(tokens + self.positions)).mean(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def vit_small(shape: tuple[int, int, int], num_classes: int) -> VisionTransformer:
    """A small ViT: patches of 4x4, width 192, 6 layers of 3 heads; 28 to 64 pixels a side give 49 to 256 tokens.

    The layers are those of DeiT-Ti (Touvron et al. 2021, arXiv 2012.12877), half as many. It is not the ViT-S of the
    literature, which has 12 layers of width 384 and patches of 16x16 pixels.
    """
    return VisionTransformer(shape, num_classes)
