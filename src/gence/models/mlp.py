"""A multilayer perceptron for tables; images are flattened."""

from __future__ import annotations

from torch import Tensor, nn


class MLP(nn.Module):
    """Hidden layers of linear, batch norm and ReLU, then a linear head.

    Args:
        inputs: Numbers a row.
        num_classes: Logits a row.
        hidden: Width of each hidden layer.
    """

    def __init__(self, inputs: int, num_classes: int, *, hidden: tuple[int, ...] = (128, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in zip((inputs, *hidden), hidden, strict=False):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear((inputs, *hidden)[-1], num_classes)

    def features(self, rows: Tensor) -> Tensor:
        """Penultimate features, `(rows, hidden[-1])`."""
        return self.body(rows)

    def forward(self, rows: Tensor) -> Tensor:
        return self.head(self.features(rows))
