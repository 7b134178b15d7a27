"""The class mass as a moving average, for batches too small to have one of their own."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from gence.losses._checks import check_whole
from gence.losses.class_mass import ClassMass


class MovingClassMass(nn.Module):
    r"""Moving averages of the class mass u and of the label shares :math:`\pi`, to stand for those of the whole data.

    A batch with fewer rows than classes says little about its class mass. With this estimate in its place, a row's
    gradient has :math:`r_k = \pi_k / u_k` where the exact one has label share over class mass; both are averaged,
    because an average of u alone turns the gradient around. It is an estimate: it lags behind the model by about
    `1 / rate` batches.

    Give it to the loss, `GenCELoss(class_mass=MovingClassMass(num_classes))`, which then calls it with the sums of each
    batch (over all ranks, where the loss has a process group). In training mode a call brings the averages up to date
    and then uses them; after its own or the loss's `eval()` they are frozen (the `eval()` of a model does not reach a
    loss that is no part of it). Batches weigh by their rows, so one without any changes nothing, nor does one with NaN.
    The first batch is its own estimate.

    Args:
        num_classes: C.
        rate: Weight of a new batch, in (0, 1]; batch t weighs 1/t as long as that is more.
        prior: `(C)` label shares to use in the place of :math:`\pi`, positive or zero, with sum 1.

    Attributes:
        log_sums: `(C)`, buffer: log of the average of :math:`\sum_i q_{ik}`.
        label_sums: `(C)`, buffer: average of the label counts.
        rows: `(1)`, buffer: average of the number of rows.
        batches: `()`, buffer: how many batches it has seen.
        prior: `(C)` or None, buffer.

    Raises:
        ValueError: If `num_classes`, `rate` or `prior` is out of range, or a batch is of another number of classes.

    Example:
        >>> moving = MovingClassMass(num_classes=3)
        >>> from gence.losses import GenCELoss
        >>> loss = GenCELoss(class_mass=moving)
        >>> round(loss(torch.eye(3)[:1], torch.tensor([0])).item(), 4)  # one row is its own class mass
        0.0
        >>> round(loss(torch.eye(3)[1:2], torch.tensor([1])).item(), 4)  # from here on there is something to compare
        -0.3799

    Reference:
        Ours; that both averages are needed was measured, and a test holds it. The form is that of the moving
        normaliser of SogCLR (Yuan et al. 2022, arXiv 2202.12387), with one average a class in the place of one a row.
    """

    log_sums: Tensor
    label_sums: Tensor
    rows: Tensor
    batches: Tensor
    prior: Tensor | None

    def __init__(self, num_classes: int, rate: float = 0.02, prior: Tensor | None = None) -> None:
        super().__init__()
        check_whole(num_classes=num_classes)
        if not 0.0 < rate <= 1.0:
            raise ValueError(f"rate must lie in (0, 1]; got {rate}")
        self.num_classes = num_classes
        self.rate = rate
        self.register_buffer("log_sums", torch.full((num_classes,), -torch.inf))
        self.register_buffer("label_sums", torch.zeros(num_classes))
        # Not (): compiled graphs of torch 2.13 drop what is written into a float64 buffer without axes on the CPU.
        self.register_buffer("rows", torch.zeros(1))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))
        self.register_buffer("prior", None if prior is None else _checked(prior, num_classes))

    @torch.no_grad()
    def forward(self, batch: ClassMass) -> ClassMass:
        """Bring the averages up to date with `batch`, and give them as those of a batch with as many rows."""
        if batch.num_classes != self.num_classes:
            raise ValueError(
                f"MovingClassMass is of {self.num_classes} classes, input has {batch.num_classes}: give num_classes="
                f"{batch.num_classes}"
            )
        if self.log_sums.dtype in (torch.float16, torch.bfloat16):
            raise ValueError(
                f"MovingClassMass must keep its averages in float32 at least, a step of {self.rate} is lost in half "
                f"precision; got {self.log_sums.dtype}: call .float() on it after casting the model"
            )
        if self.training:
            try:
                self._update(batch)
            except RuntimeError as error:
                if "vmap" not in str(error) and "captured Tensor" not in str(error):
                    raise
                raise RuntimeError(
                    "MovingClassMass keeps its averages by writing them down, which vmap, grad and other transforms of "
                    "torch.func do not allow: freeze it by eval(), or give the loss the class_mass of a total"
                ) from error
        started = self.batches > 0
        log_mass = torch.where(started, self.log_sums - self.rows.log(), batch.log_mass)
        share = self.prior
        if share is None:
            share = torch.where(started, self.label_sums / self.rows, batch.label_share)
        return replace(batch, log_sums=log_mass + batch.rows.log(), label_sums=share * batch.rows).to(batch.rows)

    def _update(self, batch: ClassMass) -> None:
        batch = batch.to(self.log_sums)
        # A row that overflowed costs its batch, not the averages for ever.
        filled = (batch.rows > 0) & batch.log_sums.isfinite().all() & batch.label_sums.isfinite().all()
        batches = self.batches + filled
        rate = (1.0 / batches.clamp(min=1)).to(self.rows).clamp(min=self.rate)
        log_sums = torch.logaddexp((1.0 - rate).log() + self.log_sums, rate.log() + batch.log_sums)
        label_sums = torch.lerp(self.label_sums, batch.label_sums, rate)
        rows = torch.lerp(self.rows, batch.rows.expand(1), rate)
        self.log_sums.copy_(torch.where(filled, log_sums, self.log_sums))
        self.label_sums.copy_(torch.where(filled, label_sums, self.label_sums))
        self.rows.copy_(torch.where(filled, rows, self.rows))
        self.batches.copy_(batches)

    def extra_repr(self) -> str:
        return f"num_classes={self.num_classes}, rate={self.rate}" + ("" if self.prior is None else ", prior=given")


def _checked(prior: Tensor, num_classes: int) -> Tensor:
    if not isinstance(prior, Tensor) or prior.shape != (num_classes,) or not prior.is_floating_point():
        got = f"{prior.dtype} of shape {tuple(prior.shape)}" if isinstance(prior, Tensor) else type(prior).__name__
        raise ValueError(f"prior must be a floating-point tensor of shape ({num_classes},), a share a class; got {got}")
    total = prior.double().sum().item()
    if not abs(total - 1.0) <= 1e-4 or bool((prior < 0).any()):
        raise ValueError(
            f"prior must hold shares of at least 0 that sum to 1; got a sum of {total:.6g} and a smallest share of "
            f"{prior.min().item():.6g}: use counts / counts.sum()"
        )
    return prior.detach().clone()
