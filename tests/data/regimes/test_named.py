from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gence import InputError
from gence.data import Regime, parse_regime
from gence.data.regimes import CATALOGUE, names


@pytest.mark.parametrize(
    ("text", "regime", "canonical"),
    [
        ("none", Regime(), "none"),
        ("long-tail:100", Regime(long_tail=("exp", 100)), "long-tail:100"),
        ("long-tail:100.0", Regime(long_tail=("exp", 100)), "long-tail:100"),
        ("long-tail:100:500", Regime(long_tail=("exp", 100), largest=500), "long-tail:100:500"),
        (" long-tail-step : 10 : 0500 ", Regime(("step", 10), largest=500), "long-tail-step:10:500"),
        ("long-tail-step:1e1", Regime(long_tail=("step", 10)), "long-tail-step:10"),
        ("label-noise:0.40", Regime(noise=("symmetric", 0.4)), "label-noise:0.4"),
        (" label-noise-pair : .2 ", Regime(noise=("pair", 0.2)), "label-noise-pair:0.2"),
        ("prior-shift:10", Regime(test_prior=(10, False)), "prior-shift:10"),
        ("prior-shift-reversed:2.5", Regime(test_prior=(2.5, True)), "prior-shift-reversed:2.5"),
        (
            "prior-shift:3 + label-noise:0.2 + long-tail:100",
            Regime(("exp", 100), ("symmetric", 0.2), (3, False)),
            "long-tail:100+label-noise:0.2+prior-shift:3",
        ),
    ],
)
def test_a_text_names_a_regime_and_the_regime_writes_itself(text: str, regime: Regime, canonical: str) -> None:
    assert parse_regime(text) == regime
    assert str(regime) == str(parse_regime(text)) == canonical


IMBALANCES = st.floats(1, 1e18)


@settings(max_examples=100, deadline=None)
@given(
    st.builds(
        Regime,
        long_tail=st.none() | st.tuples(st.sampled_from(["exp", "step"]), IMBALANCES),
        noise=st.none() | st.tuples(st.sampled_from(["symmetric", "pair"]), st.floats(1e-9, 0.999)),
        test_prior=st.none() | st.tuples(IMBALANCES, st.booleans()),
    )
)
def test_what_a_regime_writes_is_read_back_exactly(regime: Regime) -> None:
    assert parse_regime(str(regime)) == regime


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("long-tial:100", "unknown regime 'long-tial': did you mean 'long-tail'? known: none, long-tail, "),
        ("", "unknown regime ''; known: none, long-tail, long-tail-step, label-noise, label-noise-pair, prior-shift,"),
        ("long-tail:100+", "regime 'long-tail:100+': a + stands between two regimes; nothing is on one side of it"),
        ("+long-tail:100", "regime '+long-tail:100': a + stands between two regimes"),
        ("label-noise:1.5", "at least 0 and below 1; got 1.5"),
        ("long-tail", "long-tail needs its imbalance factor: long-tail:100"),
        ("long-tail:", "long-tail needs its imbalance factor: long-tail:100"),
        ("label-noise", "label-noise needs its rate: label-noise:0.4"),
        ("prior-shift-reversed", "prior-shift-reversed needs its imbalance factor: prior-shift-reversed:10"),
        (
            "long-tail:many",
            "regime 'long-tail:many': 'many' is no number; long-tail needs its imbalance factor: long-tail:100",
        ),
        (
            "long-tail:0.01",
            "regime 'long-tail:0.01': an imbalance is the largest class over the smallest, a finite number of at least "
            "1; got 0.01: give 100",
        ),
        (
            "label-noise:40",
            "regime 'label-noise:40': a noise rate is the share of wrong labels, at least 0 and below 1; got 40: give "
            "0.4 for 40 %",
        ),
        (
            "long-tail:100:many",
            "long-tail takes its imbalance factor and, after a colon, rows of the largest class: long-tail:100:500",
        ),
        ("long-tail:100:0", "regime 'long-tail:100:0': the largest class of a long tail has a whole number of rows"),
        ("label-noise:0.2:3", "label-noise takes its rate and no more: label-noise:0.4"),
        ("label-noise:0", "regime 'label-noise:0': a noise rate of 0 leaves every label as it is; leave the noise out"),
        ("prior-shift:nan", "regime 'prior-shift:nan': an imbalance is "),
        (
            "long-tail:10+long-tail:20",
            "regime 'long-tail:10+long-tail:20': of long-tail and long-tail-step only one can be given, once",
        ),
        ("label-noise:0.1+label-noise-pair:0.1", "of label-noise and label-noise-pair only one can be given, once"),
        ("none+long-tail:10", "regime 'none+long-tail:10': none stands alone and takes no number; leave it or the"),
        ("none:3", "none stands alone and takes no number"),
        ("few-labels:10", "few labels are the study's labels per class; leave few-labels out and set those"),
    ],
)
def test_what_names_no_regime_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        parse_regime(text)
    assert "\n" not in str(caught.value)


def test_a_regime_cannot_be_made_of_wrong_fields() -> None:
    with pytest.raises(InputError, match="give 100"):
        Regime(long_tail=("exp", 0.01))
    with pytest.raises(InputError, match="give 10"):
        Regime(test_prior=(0.1, False))
    with pytest.raises(ValueError, match="profile must be"):
        Regime(long_tail=("linear", 10))  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="largest class of a long tail"):
        Regime(largest=500)
    with pytest.raises(ValueError, match="kind must be"):
        Regime(noise=("flip", 0.1))  # pyright: ignore[reportArgumentType]


def test_every_name_of_the_catalogue_but_few_labels_is_read_as_it_is_written() -> None:
    assert names() == tuple(CATALOGUE)
    for name, entry in CATALOGUE.items():
        assert entry.title
        assert entry.reference
        if name != "few-labels":
            assert str(parse_regime(entry.written)) == entry.written
            assert entry.written.partition(":")[0] == name
