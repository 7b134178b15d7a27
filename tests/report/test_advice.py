"""What is worth trying besides: said where there is evidence for it and it was not tried, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gence.bench.records import Study, Summary
from gence.report import advice_on, write_report

BuildStudy = Callable[..., Study]
LOPSIDED = [500, 100, 40, 5]


def test_under_a_long_tail_the_losses_that_know_the_prior_are_worth_trying(build_study: BuildStudy) -> None:
    said = advice_on(build_study(train_class_counts=LOPSIDED))
    assert said is not None
    assert said.startswith(
        "The commonest class has 100 times the training rows of the rarest. Where rare classes matter"
    )
    assert "try logit_adjusted and logit_adjusted_smoothing too, with temperature_balanced as a calibrator" in said


@pytest.mark.parametrize("counts", [[], [8] * 10, [90, 10], [50, 0]])
def test_nothing_is_said_where_there_is_no_evidence(build_study: BuildStudy, counts: list[int]) -> None:
    assert advice_on(build_study(train_class_counts=counts)) is None


@pytest.mark.parametrize(
    ("losses", "left"),
    [
        (("ce", "logit_adjusted:tau=0.5"), "try logit_adjusted_smoothing too"),
        (("ce", "logit_adjusted_smoothing"), "try logit_adjusted too"),
        (("ce", "gence_balanced:strength=0.0"), "try logit_adjusted too"),
        (("ce", "gence_balanced"), "try logit_adjusted and logit_adjusted_smoothing too"),
        (("logit_adjusted", "logit_adjusted_smoothing:smoothing=0.1"), None),
    ],
)
def test_what_was_tried_is_not_named(build_study: BuildStudy, losses: tuple[str, ...], left: str | None) -> None:
    said = advice_on(build_study(losses=losses, train_class_counts=LOPSIDED))
    assert said is None if left is None else said is not None and left in said


def test_the_page_says_it_under_the_answer(
    build_study: BuildStudy, build_summary: Callable[[Study], Summary], tmp_path: Path
) -> None:
    for counts, times in ((LOPSIDED, 1), ([5, 5], 0)):
        study = build_study(train_class_counts=counts)
        page = write_report(study, build_summary(study), tmp_path).read_text()
        assert page.count("Worth trying besides") == times
        assert (advice_on(study) or "Worth trying besides") in page or times == 0
