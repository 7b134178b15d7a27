"""What is compared: losses of (logits, target), and of (features, weight, target), by the names the tables use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[..., Tensor]


@dataclass(frozen=True)
class Candidate:
    """A way to compute a loss.

    Args:
        make: Gives the loss; it imports what it needs, so that a package that is not there is one candidate's error.
        of: What it computes. All of a kind are checked against the first of them.
        compiled: Whether it runs under `torch.compile`.
        overwrites: Whether it writes its gradient over the logits, so that they must be made anew for each step.
    """

    make: Callable[[], Loss]
    of: Literal["cross-entropy", "GenCE"]
    compiled: bool = False
    overwrites: bool = False

    def loss(self, backend: str) -> Loss:
        """The loss, compiled by that backend if it is to be."""
        made = self.make()
        return torch.compile(made, backend=backend, fullgraph=True, dynamic=False) if self.compiled else made


def _cross_entropy() -> Loss:
    # A function of this file: PyTorch's own is not traced when it is the whole of what is compiled.
    return lambda logits, target: F.cross_entropy(logits, target)


def _generative(impl: str) -> Loss:
    from gence import generative_cross_entropy

    return lambda logits, target: generative_cross_entropy(logits, target, impl=impl)


def _liger() -> Loss:
    from liger_kernel.transformers import LigerCrossEntropyLoss

    return LigerCrossEntropyLoss()


def _quack() -> Loss:
    from quack.cross_entropy import cross_entropy

    return cross_entropy


def _of_logits(loss: Loss) -> Loss:
    return lambda features, weight, target: loss(F.linear(features, weight), target)


def _linear_generative(impl: str) -> Loss:
    from gence import linear_generative_cross_entropy

    return partial(linear_generative_cross_entropy, impl=impl)


def _pytorch_linear() -> Loss:
    chunks = torch.nn.LinearCrossEntropyOptions()
    return partial(F.linear_cross_entropy, options=chunks)


def _chunked_linear() -> Loss:
    from speed.chunked import linear_cross_entropy

    return linear_cross_entropy


def _liger_linear() -> Loss:
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    loss = LigerFusedLinearCrossEntropyLoss()
    return lambda features, weight, target: loss(weight, features, target)


def _quack_linear() -> Loss:
    from quack.linear_cross_entropy import chunked_linear_cross_entropy

    return chunked_linear_cross_entropy


def _cut_cross_entropy() -> Loss:
    from cut_cross_entropy import linear_cross_entropy

    return linear_cross_entropy


DENSE = {
    "F.cross_entropy": Candidate(_cross_entropy, "cross-entropy"),
    "GenCE, definition": Candidate(partial(_generative, "definition"), "GenCE"),
    "GenCE": Candidate(partial(_generative, "auto"), "GenCE"),
    "GenCE, eager": Candidate(partial(_generative, "eager"), "GenCE"),
    "GenCE, triton": Candidate(partial(_generative, "triton"), "GenCE"),
    "F.cross_entropy, compiled": Candidate(_cross_entropy, "cross-entropy", compiled=True),
    "GenCE, compiled": Candidate(partial(_generative, "auto"), "GenCE", compiled=True),
    "GenCE, Inductor": Candidate(partial(_generative, "compiled"), "GenCE", compiled=True),
    "Liger": Candidate(_liger, "cross-entropy", overwrites=True),
    "quack": Candidate(_quack, "cross-entropy"),
}
"""Losses of (logits, target).

`GenCE` is what a call gets that names no `impl`, and `GenCE, compiled` what it gets under `torch.compile`.
"""

LINEAR = {
    "F.cross_entropy of the logits": Candidate(lambda: _of_logits(_cross_entropy()), "cross-entropy"),
    "GenCE of the logits": Candidate(lambda: _of_logits(_generative("auto")), "GenCE"),
    "linear GenCE": Candidate(partial(_linear_generative, "auto"), "GenCE"),
    "linear GenCE, eager": Candidate(partial(_linear_generative, "eager"), "GenCE"),
    "linear GenCE, triton": Candidate(partial(_linear_generative, "triton"), "GenCE"),
    "F.linear_cross_entropy, chunked": Candidate(_pytorch_linear, "cross-entropy"),
    "chunked cross-entropy": Candidate(_chunked_linear, "cross-entropy"),
    "Liger, linear": Candidate(_liger_linear, "cross-entropy"),
    "quack, linear": Candidate(_quack_linear, "cross-entropy"),
    "cut-cross-entropy": Candidate(_cut_cross_entropy, "cross-entropy"),
}
"""Losses of (features, weight, target). `chunked cross-entropy` is this folder's own, for where there is no other."""
