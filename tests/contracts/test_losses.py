"""What every loss of the catalogue owes; a new loss is tested by being registered."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from gence import InputError
from gence.losses import EpochLoss, _cautions, catalogue, mmce

# Said once, and so in whichever test comes first.
pytestmark = pytest.mark.filterwarnings("ignore:GenCE was given a batch of")
every_loss = pytest.mark.parametrize("name", catalogue.names())
COUNTS = torch.tensor([40, 20, 10, 6, 4])

KNOBS = {
    "ce": {},
    "label_smoothing": {"smoothing": 0.1},
    "focal": {"gamma": 2.0},
    "flsd53": {"gamma_low": 5.0, "gamma_high": 3.0, "threshold": 0.2},
    "dual_focal": {"gamma": 5.0},
    "adafocal": {"gamma": 1.0, "rate": 1.0, "bins": 15, "gamma_max": 20.0, "gamma_min": -2.0, "switch": 0.2},
    "brier": {},
    "mmce": {"lambd": 2.0, "width": 0.4, "weighted": False},
    "mdca": {"beta": 1.0},
    "dca": {"beta": 1.0},
    "mbls": {"alpha": 0.1, "margin": 10.0},
    "acls": {"alpha": 0.1, "lambda1": 1.0, "lambda2": 0.1, "margin": 10.0},
    "cpc": {"lambda1": 0.1, "lambda2": 1.0},
    "crl": {"rank_weight": 1.0},
    "cals": {"margin": 10.0, "multiplier": 1e-6, "rho": 1.0, "gamma": 1.2, "tau": 0.9, "period": 1, "rho_period": 10},
    "confidence_penalty": {"beta": 0.1},
    "poly1": {"epsilon": 1.0},
    "label_relaxation": {"alpha": 0.1},
    "class_balanced": {"beta": 0.9999},
    "balanced_softmax": {},
    "logit_adjusted": {"tau": 1.0},
    "logit_adjusted_smoothing": {"tau": 1.0, "smoothing": 0.05},
    "ldam": {"max_margin": 0.5, "scale": 30.0, "deferral": 0.8, "beta": 0.9999},
    "gence": {"strength": 1.0},
    "gence_moving": {"strength": 1.0, "rate": 0.02},
    "gence_focal": {"gamma": 2.0, "strength": 1.0},
    "gence_smoothing": {"smoothing": 0.1, "strength": 1.0},
    "gence_margin": {"alpha": 0.1, "margin": 10.0, "strength": 1.0},
    "gence_prior": {"tau": 1.0, "strength": 1.0},
    "gence_balanced": {"tau": 1.0, "smoothing": 0.05, "strength": 1.0, "rate": 0.02},
}
# `F.cross_entropy` spreads the weights of smoothed labels over the classes.
SPREADS_WEIGHTS = {"label_smoothing", "gence_smoothing"}
# A distance to a logit of minus infinity, or a share of the target there, is infinite.
INFINITE_WITH_A_CLASS_RULED_OUT = {
    "label_smoothing", "logit_adjusted_smoothing", "gence_smoothing", "gence_balanced", "mbls", "acls", "cals",
    "gence_margin", "cpc",
}  # fmt: skip
# So that the logits of the tests are beyond it.
SMALL_MARGIN = {"mbls", "acls", "cals", "gence_margin"}
# `F.cross_entropy` gives an ignored row that is NaN a gradient of NaN.
AS_CROSS_ENTROPY_IGNORES = {"ce", "gence", "gence_moving", "gence_smoothing"}
# Its penalty is on the highest logit itself.
SEES_A_SHIFT_OF_LOGITS = {"acls"}
# They keep a moving average.
MOVING = {"gence_moving", "gence_balanced"}
# Its pairs are neighbours in the batch, which have no order in images.
PAIRS_OF_NEIGHBOURS = {"crl"}


def batch(rows: int = 30, classes: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return 2.0 * torch.randn(rows, classes, dtype=torch.float64, generator=generator), torch.arange(rows) % classes


def build(name: str, classes: int = 5, order: Tensor | None = None, **settings: Any) -> torch.nn.Module:
    """A fresh one, as some keep a state; those that learn over epochs have learnt for two of ten.

    `order` rearranges the classes.
    """
    order = torch.arange(classes) if order is None else order
    counts = COUNTS[:classes] if classes <= 5 else torch.cat([COUNTS, torch.full((classes - 5,), 3)])
    if name in SMALL_MARGIN:
        settings = {"margin": 1.0} | settings
    loss = catalogue.build(name, class_counts=counts[order], **settings).double()
    if isinstance(loss, EpochLoss):
        for epoch in (1, 2):
            logits, target = batch(30, classes, seed=epoch)
            with torch.no_grad():
                loss(logits[:, order], order.argsort()[target], rows=torch.arange(30))
            logits, target = batch(60, classes, seed=10 + epoch)
            loss.end_epoch(epoch, 10, (3.0 * logits[:, order], order.argsort()[target]))
    return loss


def value(loss: torch.nn.Module, logits: Tensor, target: Tensor, rows: Tensor | None = None) -> Tensor:
    if isinstance(loss, EpochLoss):
        return loss(logits, target, rows=torch.arange(len(target)) if rows is None and target.dim() == 1 else rows)
    return loss(logits, target)


def of(name: str, logits: Tensor, target: Tensor, rows: Tensor | None = None, **settings: Any) -> Tensor:
    return value(build(name, logits.shape[1 if logits.dim() > 1 else 0], **settings), logits, target, rows)


@every_loss
def test_it_gives_a_scalar_with_a_right_gradient(name: str) -> None:
    logits, target = batch()
    assert of(name, logits, target).shape == ()
    if catalogue.CATALOGUE[name].own_gradient:
        pytest.skip("its gradient is not the derivative of its value, on purpose; its own tests hold it")
    assert torch.autograd.gradcheck(lambda z: of(name, z, target), logits.requires_grad_())


@every_loss
def test_it_is_called_with_two_arguments(name: str) -> None:
    logits, target = batch()
    assert catalogue.build(name, num_classes=5, class_counts=COUNTS)(logits, target).isfinite()


@every_loss
@pytest.mark.parametrize("ignored", [-100, 2])
def test_an_ignored_row_changes_nothing_and_gets_no_gradient(name: str, ignored: int) -> None:
    logits, target = batch()
    kept = target != 2
    logits, target = logits[kept], target[kept]
    places = torch.arange(len(target) + 2)
    hole = torch.tensor([3, 17])
    left = places[~torch.isin(places, hole)]
    nothing = 7.0 if name in AS_CROSS_ENTROPY_IGNORES else torch.nan
    more = torch.full((len(places), 5), nothing, dtype=torch.float64).index_copy(0, left, logits).requires_grad_()
    labels = torch.full((len(places),), ignored).index_copy(0, left, target)
    result = of(name, more, labels, rows=torch.arange(len(places)), ignore_index=ignored)
    assert_close(result, of(name, logits, target, rows=left, ignore_index=ignored))
    gradient = torch.autograd.grad(result, more)[0]
    assert (gradient[hole] == 0).all()
    assert (gradient[left] != 0).any(1).float().mean() > 0.5


@every_loss
def test_the_reductions_agree(name: str) -> None:
    logits, target = batch()
    weight = torch.tensor([1.0, 0.5, 2.0, 3.0, 0.25], dtype=torch.float64)
    target[4] = -100
    rows, total, mean = (of(name, logits, target, reduction=kind) for kind in ("none", "sum", "mean"))
    assert rows.shape == target.shape
    assert rows[4] == 0
    assert_close(rows.sum(), total)
    assert_close(mean, total / 29)
    weighted = {kind: of(name, logits, target, reduction=kind, weight=weight) for kind in ("none", "sum", "mean")}
    assert_close(weighted["none"].sum(), weighted["sum"])
    row_weight = weight[target.clamp(min=0)]
    assert_close(weighted["mean"], weighted["sum"] / row_weight[target >= 0].sum())
    if name not in SPREADS_WEIGHTS:
        assert_close(weighted["none"], row_weight * rows)
    assert_close(of(name, logits, target, weight=torch.ones(5, dtype=torch.float64)), mean)


@every_loss
def test_it_does_not_depend_on_the_order_of_rows_or_classes_or_on_a_shift_of_a_row(name: str) -> None:
    logits, target = batch()
    generator = torch.Generator().manual_seed(1)
    rows, classes = torch.randperm(30, generator=generator), torch.randperm(5, generator=generator)
    result = of(name, logits, target)
    if name not in PAIRS_OF_NEIGHBOURS:
        assert_close(of(name, logits[rows], target[rows], rows), result)
    assert_close(of(name, logits[:, classes], classes.argsort()[target], order=classes), result)
    shift = torch.randn(30, 1, dtype=torch.float64, generator=generator)
    if name not in SEES_A_SHIFT_OF_LOGITS:
        assert_close(of(name, logits + shift, target), result)


@every_loss
def test_positions_of_an_image_are_rows_and_a_row_may_come_alone(name: str) -> None:
    logits, target = batch()
    image = logits.view(2, 15, 5).movedim(-1, 1), target.view(2, 15)
    if name in PAIRS_OF_NEIGHBOURS:
        with pytest.raises(ValueError, match=r"\(N, C\)"):
            of(name, *image)
        return
    assert_close(of(name, *image), of(name, logits, target))
    assert of(name, *image, reduction="none").shape == (2, 15)
    assert_close(of(name, logits[7], target[7]), of(name, logits[7:8], target[7:8], torch.tensor([0])))


@every_loss
def test_training_with_it_beats_guessing(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.arange(300) % 3
    inputs = torch.randn(300, 2, generator=generator) + 2.0 * F.one_hot(target, 3)[:, :2]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = torch.nn.Linear(2, 3)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    loss = catalogue.build(name, class_counts=[100, 100, 100])
    for _ in range(60):
        optimizer.zero_grad()
        value(loss, layer(inputs), target).backward()
        optimizer.step()
    assert (layer(inputs).argmax(1) == target).float().mean() > 0.7


@every_loss
def test_it_takes_bfloat16_autocast_and_compiles_whole(name: str) -> None:
    logits, target = batch()
    result = of(name, logits.requires_grad_(), target)
    gradient = torch.autograd.grad(result, logits)[0]
    loss = build(name).float()
    with torch.autocast("cpu", torch.bfloat16):
        low = value(loss, logits.bfloat16(), target)
    assert low.dtype == torch.float32
    assert_close(low.double(), result, rtol=2e-2, atol=2e-2)
    torch.compiler.reset()  # every loss of a function is the same module to the compiler, which counts its versions
    compiled = torch.compile(build(name), fullgraph=True, backend="aot_eager")
    whole = value(compiled, logits, target) if name == "crl" else compiled(logits, target)
    assert_close(whole, result)
    assert_close(torch.autograd.grad(whole, logits)[0], gradient)


@every_loss
def test_it_never_waits_for_an_accelerator(name: str) -> None:
    """A meta tensor has no values, so whatever asks for one on the way forward or back would raise."""
    logits, target = batch()
    loss = build(name).to("meta")
    logits = logits.to("meta").requires_grad_()
    result = value(loss, logits, target.to("meta"), torch.arange(30, device="meta"))
    assert torch.autograd.grad(result, logits)[0].shape == (30, 5)


@every_loss
def test_it_can_be_under_vmap_and_grad(name: str) -> None:
    loss = build(name)
    if isinstance(loss, EpochLoss) or name in MOVING:
        pytest.skip("it keeps a state")
    logits, target = (torch.stack(parts) for parts in zip(*(batch(seed=seed) for seed in range(3)), strict=True))
    target[1, 4] = -100
    gradients = torch.vmap(torch.func.grad(loss))(logits, target)
    for z, y, gradient in zip(logits.requires_grad_(), target, gradients, strict=True):
        assert_close(gradient, torch.autograd.grad(loss(z, y), z)[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every_loss
def test_it_never_waits_for_a_gpu(name: str) -> None:
    logits, target = (t.cuda() for t in batch())
    loss, rows = build(name).cuda(), torch.arange(30, device="cuda")
    value(loss, logits, target, rows)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        value(loss, logits.requires_grad_(), target, rows).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert_close(value(build(name).cuda(), logits, target, rows).cpu(), of(name, *batch()))


@every_loss
def test_every_knob_changes_the_loss(name: str) -> None:
    logits, target = batch()
    if isinstance(catalogue.build(name, class_counts=COUNTS), EpochLoss):
        pytest.skip("some tell only over epochs; its own tests hold them")
    for knob, default in catalogue.knobs(name).items():
        usual, changed = build(name), build(name, **{knob: not default if isinstance(default, bool) else default / 2})
        for _ in range(60):  # a rate tells after 1 / rate batches
            logits = 0.97 * logits if name in MOVING else logits
            values = usual(logits, target), changed(logits, target)
            if name not in MOVING:
                break
        assert not torch.isclose(*values, rtol=1e-4), knob


@every_loss
@pytest.mark.parametrize(
    ("logits", "target"),
    [
        pytest.param(torch.randn(1, 5, generator=torch.Generator().manual_seed(0)), [2], id="one row"),
        pytest.param(torch.zeros(6, 5), [0, 1, 2, 3, 4, 0], id="uniform"),
        pytest.param(torch.eye(5) * 500.0, [0, 1, 2, 3, 4], id="all surely right"),
        pytest.param(torch.eye(5) * 500.0, [1, 2, 3, 4, 0], id="all surely wrong"),
        pytest.param(torch.eye(5) * 500.0, [3, 3, 3, 3, 3], id="one class"),
        pytest.param(torch.full((4, 5), -500.0), [0, 1, 2, 3], id="far below zero"),
        pytest.param(torch.tensor([[3.0, -1.0], [0.5, 0.5], [-2.0, 2.0]]), [0, 1, 0], id="two classes"),
    ],
)
def test_degenerate_batches_give_finite_losses_and_gradients(name: str, logits: Tensor, target: list[int]) -> None:
    logits = logits.clone().double().requires_grad_()
    result = of(name, logits, torch.tensor(target))
    assert result.isfinite()
    assert torch.autograd.grad(result, logits)[0].isfinite().all()


@every_loss
def test_a_batch_without_rows_that_count_sums_to_zero(name: str) -> None:
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    result = of(name, logits, torch.full((3,), -100), reduction="sum")
    assert result == 0
    assert (torch.autograd.grad(result, logits)[0] == 0).all()


@every_loss
def test_a_class_ruled_out_by_minus_infinity_leaves_the_gradient_finite(name: str) -> None:
    if name in INFINITE_WITH_A_CLASS_RULED_OUT:
        pytest.skip("the loss is infinite there")
    logits, target = batch()
    ruled_out = torch.cat([logits, torch.full((30, 1), -torch.inf, dtype=torch.float64)], 1).requires_grad_()
    gradient = torch.autograd.grad(of(name, ruled_out, target), ruled_out)[0]
    assert gradient.isfinite().all()


@every_loss
def test_the_inputs_are_checked(name: str) -> None:
    loss = build(name)
    with pytest.raises((ValueError, IndexError, RuntimeError)):
        value(loss, torch.zeros(4, 5), torch.tensor([0, 1, 2, 5]))
    with pytest.raises((ValueError, RuntimeError)):
        value(loss, torch.zeros(4, 5), torch.tensor([0, 1, 2]))


def test_the_default_knobs_are_the_documented_ones() -> None:
    assert {name: catalogue.knobs(name) for name in catalogue.names()} == KNOBS


def test_every_entry_is_described() -> None:
    for name, entry in catalogue.CATALOGUE.items():
        assert all((entry.title, entry.reference, entry.equation)), name
        assert not any("|" in text for text in (entry.title, entry.reference, entry.needs)), name
        assert entry.proper in get_args(catalogue.Proper), name
    titles = [entry.title for entry in catalogue.CATALOGUE.values()]
    assert len(set(titles)) == len(titles)


def test_a_misspelt_loss_or_knob_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="unknown loss 'gense': did you mean 'gence'"):
        catalogue.build("gense")
    with pytest.raises(InputError, match="unknown knob of loss 'focal' 'gama': did you mean 'gamma'"):
        catalogue.build("focal", gama=1.0)
    with pytest.raises(InputError, match="loss 'ce' has no knobs; got gamma=1"):
        catalogue.build("ce", gamma=1.0)
    with pytest.raises(InputError, match="loss 'gence_moving' needs the number of classes; give num_classes="):
        catalogue.build("gence_moving")
    with pytest.raises(InputError, match="loss 'ldam' needs the number of training rows of each class; give class_c"):
        catalogue.build("ldam", num_classes=5)
    with pytest.raises(InputError, match="class_counts must have one entry a class, 4; got 5"):
        catalogue.build("ldam", num_classes=4, class_counts=COUNTS)


@every_loss
def test_a_setting_that_is_no_number_of_its_range_is_refused_when_the_loss_is_built(name: str) -> None:
    for knob, default in catalogue.knobs(name).items():
        for wrong in (math.inf, math.nan):
            with pytest.raises(ValueError, match=f"{knob}|gamma|smoothing"):
                catalogue.build(name, class_counts=COUNTS, **{knob: wrong})
        if type(default) is int:
            with pytest.raises(ValueError, match=f"{knob} must be a whole number of at least 1; got 2.5"):
                catalogue.build(name, class_counts=COUNTS, **{knob: 2.5})
        with pytest.raises(InputError, match=f"knob {knob} of loss '{name}' must be (a number|True or False); got '1'"):
            catalogue.build(name, class_counts=COUNTS, **{knob: "1"})


@every_loss
def test_it_is_built_whatever_the_ignore_index_with_a_weight_or_with_the_number_of_classes_alone(name: str) -> None:
    for ignored in (0, 1, 255, -1):
        assert catalogue.build(name, class_counts=COUNTS, ignore_index=ignored).ignore_index == ignored
    catalogue.build(name, class_counts=COUNTS, weight=torch.ones(5))
    if not catalogue.CATALOGUE[name].needs.startswith("labels a class"):
        catalogue.build(name, num_classes=5)
        catalogue.build(name, num_classes=5, weight=torch.ones(5))


def test_building_says_nothing_and_leaves_it_to_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cautions, "_said", set())
    monkeypatch.setattr(_cautions.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(_cautions.dist, "get_world_size", lambda: 2)
    loss = catalogue.build("gence_focal", num_classes=5)
    with pytest.warns(UserWarning, match="gence_focal has no exact form for ranks yet"):
        loss(*batch())


def test_a_switch_is_a_knob_and_a_whole_number_will_do_for_any() -> None:
    logits, target = batch()
    loss = catalogue.build("mmce", weighted=True, lambd=1)
    assert_close(loss(logits, target), mmce(logits, target, weighted=True, lambd=1.0))
    with pytest.raises(InputError, match="knob weighted of loss 'mmce' must be True or False; got 1"):
        catalogue.build("mmce", weighted=1)
    with pytest.raises(InputError, match="knob gamma of loss 'focal' must be a number; got True"):
        catalogue.build("focal", gamma=True)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("focal", {"gamma": -1.0}, r"gamma must be a finite number of at least 0 \(0 is cross-entropy\); got -1"),
        ("gence", {"strength": math.nan}, "strength must be a finite number"),
        ("gence", {"reduction": "avg"}, "reduction must be one of none, mean, sum; got 'avg'"),
        ("ce", {"class_counts": {0: 3, 1: 2}.values()}, "class_counts must hold the training rows .* got dict_values"),
        ("ce", {"class_counts": (n for n in (3, 2))}, "class_counts must hold the training rows .* got generator"),
        ("ce", {"class_counts": 5}, r"class_counts must hold .* shape \(C,\); got shape \(\)"),
        ("balanced_softmax", {"class_counts": [1, 0]}, "class_counts must be above 0 and finite, .* got 0 for class 1"),
        (
            "ldam",
            {"class_counts": [3, 2], "weight": [1.0, 1.0]},
            r"weight must be a tensor; got list: use torch.as_ten",
        ),
        (
            "brier",
            {"num_classes": 3, "weight": torch.ones(2)},
            r"weight must have one entry a class, shape \(3,\); got",
        ),
    ],
)
def test_what_a_loss_cannot_do_with_is_named_when_it_is_built(name: str, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        catalogue.build(name, **settings)


def test_the_counts_and_weights_of_the_caller_stay_his_own() -> None:
    counts = np.array([40.0, 20.0])
    loss = catalogue.build("balanced_softmax", class_counts=counts)
    loss.load_state_dict({"class_counts": torch.tensor([1.0, 2.0], dtype=torch.float64)})
    assert counts.tolist() == [40.0, 20.0]
    loss = catalogue.build("ldam", class_counts=counts)
    counts[:] = 1.0
    assert loss.class_counts.tolist() == [40.0, 20.0]


@every_loss
def test_an_epoch_that_there_is_not_is_refused(name: str) -> None:
    loss = build(name)
    if not isinstance(loss, EpochLoss):
        pytest.skip("it does not learn over epochs")
    for epoch in (0, 11):
        with pytest.raises(ValueError, match=f"epoch must lie in 1 to epochs=10, 1 after the first epoch; got {epoch}"):
            loss.end_epoch(epoch, 10, batch())
