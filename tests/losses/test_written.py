from __future__ import annotations

import pytest

from gence import InputError
from gence.losses import catalogue
from gence.losses.written import WrittenLoss, parse_loss


@pytest.mark.parametrize("name", catalogue.names())
def test_a_name_alone_is_the_loss_at_its_defaults(name: str) -> None:
    loss = parse_loss(name)
    assert (loss, str(loss), loss.knobs()) == (WrittenLoss(name), name, catalogue.knobs(name))


def test_a_knob_is_set_and_the_rest_stay_at_their_defaults() -> None:
    assert parse_loss("flsd53:threshold=0.3").knobs() == {"gamma_low": 5.0, "gamma_high": 3.0, "threshold": 0.3}
    assert parse_loss("mmce:weighted=true").knobs()["weighted"] is True
    assert parse_loss("adafocal:bins=20").knobs()["bins"] == 20


@pytest.mark.parametrize(
    ("written", "spelt"),
    [
        ("focal:gamma=1", "focal:gamma=1.0"),
        ("focal:gamma=.50", "focal:gamma=0.5"),
        ("acls:margin=5:alpha=1e-1", "acls:alpha=0.1:margin=5.0"),
        ("mmce:weighted=false", "mmce:weighted=false"),
    ],
)
def test_a_loss_has_one_spelling_which_reads_back_to_it(written: str, spelt: str) -> None:
    loss = parse_loss(written)
    assert str(loss) == spelt
    assert parse_loss(spelt) == loss


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("focl", "unknown loss 'focl': did you mean 'focal'? known: ce"),
        ("focal:gama=1", "unknown knob of loss 'focal' 'gama': did you mean 'gamma'? known: gamma"),
        ("focal:gamma", "loss 'focal:gamma': knob=value is expected after the colon, as in focal:gamma=3; got 'gamma'"),
        ("focal:gamma=1:gamma=2", "loss 'focal:gamma=1:gamma=2' names the knob 'gamma' twice; name it once"),
        ("focal:gamma=big", "knob gamma of loss 'focal' must be a number; got 'big'"),
        ("adafocal:bins=1.5", "knob bins of loss 'adafocal' must be a whole number; got '1.5'"),
        ("mmce:weighted=1", "knob weighted of loss 'mmce' must be true or false; got '1'"),
        ("ce:gamma=1", "loss 'ce' has no knobs; got 'gamma=1': leave it out"),
        ("focal:gamma=-1", "loss 'focal:gamma=-1.0': gamma must be a finite number of at least 0"),
        ("focal:gamma=nan", "loss 'focal:gamma=NaN': gamma must be a finite number of at least 0"),
        ("focal:", "knob=value is expected after the colon"),
        ("", "unknown loss ''"),
    ],
)
def test_what_is_no_loss_is_refused_in_one_line(written: str, told: str) -> None:
    with pytest.raises(InputError) as error:
        parse_loss(written)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
