from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from torch.testing import assert_close

from gence.metrics import ood_aupr, ood_auroc, ood_fpr95

METRICS = {
    "auroc": ood_auroc,
    "fpr95": ood_fpr95,
    "fpr95 id": lambda i, o: ood_fpr95(i, o, positive="id"),
    "aupr": ood_aupr,
    "aupr id": lambda i, o: ood_aupr(i, o, positive="id"),
}
every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)

ID = torch.tensor([0.9, 0.8, 0.8, 0.6, 0.3], dtype=torch.float64)
OOD = torch.tensor([0.8, 0.5, 0.3, 0.1], dtype=torch.float64)


def scores(seed: int, *, rounded: bool) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    id_scores = 1 + torch.randn(130, dtype=torch.float64, generator=generator)
    ood_scores = torch.randn(70, dtype=torch.float64, generator=generator)
    return (id_scores.round(), ood_scores.round()) if rounded else (id_scores, ood_scores)


def test_values_by_hand() -> None:
    # Pairs in order: 0.9 beats 4; each 0.8 beats 3 and ties 1; 0.6 beats 3; 0.3 beats 1 and ties 1.
    assert ood_auroc(ID, OOD).item() == pytest.approx((4 + 2 * 3.5 + 3 + 1.5) / 20)
    assert ood_fpr95(ID, OOD).item() == pytest.approx(4 / 5)  # all 4 are caught at 0.8 and below: all ID but 0.9
    assert ood_fpr95(ID, OOD, positive="id").item() == pytest.approx(3 / 4)  # all 5 pass at 0.3: all OOD but 0.1
    # At 0.1: 1 of 1 is OOD; at 0.3: 2 of 3; at 0.5: 3 of 4; at 0.8: 4 of 8.
    assert ood_aupr(ID, OOD).item() == pytest.approx((1 + 2 / 3 + 3 / 4 + 4 / 8) / 4)


def test_95_percent_are_19_of_20_rows_and_20_of_21() -> None:
    ood = torch.arange(20, dtype=torch.float64)
    ident = torch.tensor([18.0, 18.5, 19.5, 30.0], dtype=torch.float64)
    assert ood_fpr95(ident, ood).item() == 0.25  # 19 of 20 are caught at 18
    assert ood_fpr95(ident, torch.cat([ood, ood[:1] - 1])).item() == 0.25  # 20 of 21 as well; 19 would not be enough


@pytest.mark.parametrize("rounded", [False, True])
def test_naive_loops_agree(rounded: bool) -> None:
    id_scores, ood_scores = scores(0, rounded=rounded)
    pairs = [float(i > o) + 0.5 * float(i == o) for i in id_scores for o in ood_scores]
    assert ood_auroc(id_scores, ood_scores).item() == pytest.approx(sum(pairs) / len(pairs))
    for positive in ("ood", "id"):
        # Whoever is positive is looked for on his own side of a threshold.
        wanted, other = (-ood_scores, -id_scores) if positive == "ood" else (id_scores, ood_scores)
        wanted, other = wanted.tolist(), other.tolist()
        for threshold in sorted(set(wanted), reverse=True):
            if sum(s >= threshold for s in wanted) * 100 >= 95 * len(wanted):
                flagged = sum(s >= threshold for s in other) / len(other)
                break
        assert ood_fpr95(id_scores, ood_scores, positive=positive).item() == pytest.approx(flagged)  # type: ignore[arg-type]
        precision = []
        for one in wanted:
            found = sum(s >= one for s in wanted)
            precision.append(found / (found + sum(s >= one for s in other)))
        expected = sum(precision) / len(precision)
        assert ood_aupr(id_scores, ood_scores, positive=positive).item() == pytest.approx(expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_scikit_learn_gives_the_same(seed: int, rounded: bool) -> None:
    id_scores, ood_scores = scores(seed, rounded=rounded)
    both = torch.cat([id_scores, ood_scores]).numpy()
    is_ood = np.repeat([0, 1], [130, 70])
    assert ood_auroc(id_scores, ood_scores).item() == pytest.approx(roc_auc_score(is_ood, -both))
    for positive, label, score in (("ood", is_ood, -both), ("id", 1 - is_ood, both)):
        assert ood_aupr(id_scores, ood_scores, positive=positive).item() == pytest.approx(  # type: ignore[arg-type]
            average_precision_score(label, score)
        )
        false, true, _ = roc_curve(label, score, drop_intermediate=False)
        expected = false[np.argmax(true >= 0.95)]
        assert ood_fpr95(id_scores, ood_scores, positive=positive).item() == pytest.approx(expected)  # type: ignore[arg-type]


def test_sets_told_apart_and_scores_that_say_nothing() -> None:
    high, low = torch.arange(10.0, 20.0), torch.arange(5.0)
    assert [metric(high, low).item() for metric in METRICS.values()] == [1.0, 0.0, 0.0, 1.0, 1.0]
    assert ood_auroc(low, high) == 0.0
    same = torch.zeros(30)
    assert [metric(same, same[:10]).item() for metric in METRICS.values()] == [0.5, 1.0, 1.0, 0.25, 0.75]


@settings(max_examples=60, deadline=None)
@given(
    id_scores=st.lists(st.integers(-4, 4), min_size=1, max_size=30),
    ood_scores=st.lists(st.integers(-4, 4), min_size=1, max_size=30),
    seed=st.integers(0, 99),
)
def test_order_of_storage_and_increasing_maps_do_not_matter_and_turning_the_scores_swaps_the_roles(
    id_scores: list[int], ood_scores: list[int], seed: int
) -> None:
    i, o = (torch.tensor(s, dtype=torch.float64) for s in (id_scores, ood_scores))
    generator = torch.Generator().manual_seed(seed)
    mixed = [s[torch.randperm(len(s), generator=generator)] for s in (i, o)]
    for metric in METRICS.values():
        assert_close(metric(*mixed), metric(i, o), rtol=0, atol=1e-12)
        assert_close(metric((i / 3).exp(), (o / 3).exp()), metric(i, o), rtol=0, atol=1e-12)
    assert_close(ood_auroc(o, i), 1 - ood_auroc(i, o))
    assert_close(ood_fpr95(-o, -i), ood_fpr95(i, o, positive="id"))
    assert_close(ood_aupr(-o, -i), ood_aupr(i, o, positive="id"))


@every_metric
def test_torch_and_numpy_give_a_float64_scalar_and_infinity_is_a_score(metric) -> None:
    value = metric(ID, OOD)
    assert (value.shape, value.dtype) == ((), torch.float64)
    assert metric(ID.numpy(), OOD.numpy()) == value
    assert metric(ID.float(), OOD.float()) == value
    far = torch.tensor([-math.inf], dtype=torch.float64)
    assert metric(ID, torch.cat([OOD, far])) == metric(ID, torch.cat([OOD, far.nan_to_num()]))


@every_metric
@pytest.mark.parametrize(
    ("id_scores", "ood_scores", "message"),
    [
        (ID[:0], OOD, r"id_scores must hold one score a row, shape \(rows,\), of at least 1 row; got \(0,\)"),
        (ID, OOD[None], r"ood_scores must hold one score a row, .*; got \(1, 4\)"),
        (ID, OOD > 0, "ood_scores must be floating-point; got torch.bool"),
        (torch.cat([ID, torch.tensor([math.nan])]), OOD, "id_scores must not be NaN; row 5 is: leave such rows out"),
    ],
)
def test_what_is_no_score_is_refused(metric, id_scores, ood_scores, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric(id_scores, ood_scores)


@pytest.mark.parametrize("metric", [ood_fpr95, ood_aupr])
def test_there_are_two_positive_classes(metric) -> None:
    with pytest.raises(ValueError, match="positive must be 'ood' or 'id', the set to be caught; got 'out'"):
        metric(ID, OOD, positive="out")
