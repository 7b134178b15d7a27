from __future__ import annotations

import math
import re

import pytest
import torch
import torch.nn.functional as F

from gence.training import AUGMENTATIONS, mixup, random_crop, random_flip


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(rows: int = 5, channels: int = 3, height: int = 9, width: int = 7) -> torch.Tensor:
    """Every pixel a number of its own, none of them the 0 of the padding."""
    return torch.arange(1.0, 1 + rows * channels * height * width).view(rows, channels, height, width)


def test_a_crop_is_a_slice_of_the_padded_image_at_the_drawn_offsets() -> None:
    batch, padding = images(), 2
    tops, lefts = torch.randint(5, (2, 5), generator=seeded(3)).tolist()
    assert len({*zip(tops, lefts, strict=True)}) > 1
    padded = F.pad(batch, [padding] * 4)
    expected = [padded[i, :, tops[i] : tops[i] + 9, lefts[i] : lefts[i] + 7] for i in range(5)]
    assert torch.equal(random_crop(batch, seeded(3), padding), torch.stack(expected))


def test_a_flip_mirrors_left_and_right_of_the_drawn_images_only() -> None:
    batch = images(rows=8)
    drawn = (torch.rand(8, generator=seeded(4)) < 0.5).tolist()
    assert len(set(drawn)) == 2
    expected = [
        torch.stack([image[:, :, 6 - j] for j in range(7)], 2) if d else image
        for image, d in zip(batch, drawn, strict=True)
    ]
    assert torch.equal(random_flip(batch, seeded(4)), torch.stack(expected))


@pytest.mark.parametrize(("side", "padding"), [(64, 4), (32, 4), (28, 3), (16, 2), (8, 1), (3, 1)])
def test_the_padding_is_four_and_less_for_small_images(side: int, padding: int) -> None:
    batch = images(rows=40, channels=1, height=side, width=side + 5)
    assert torch.equal(random_crop(batch, seeded()), random_crop(batch, seeded(), padding))


def test_every_offset_is_as_likely_as_another_and_rows_and_columns_are_drawn_apart() -> None:
    batch = torch.zeros(9000, 1, 3, 3)
    batch[:, 0, 1, 1] = 1
    place = random_crop(batch, seeded(), padding=1).flatten(1).argmax(1)
    counts = place.bincount(minlength=9).double()
    assert ((counts - 1000) ** 2 / 1000).sum() < 26.1  # the 0.999 quantile of chi-squared with 8 degrees of freedom


def test_half_of_the_images_are_flipped() -> None:
    flipped = random_flip(torch.tensor([0.0, 1.0]).expand(10_000, 1, 1, 2), seeded())[:, 0, 0, 0]
    assert abs(flipped.mean().item() - 0.5) < 4 * 0.5 / 100


def test_a_crop_without_padding_is_the_image_itself() -> None:
    assert torch.equal(random_crop(images(), seeded(), padding=0), images())


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_augmentation_keeps_shape_and_dtype_and_repeats_with_its_seed(name: str, dtype: torch.dtype) -> None:
    batch = images().to(dtype)
    before, state = batch.clone(), torch.get_rng_state()
    first, again = AUGMENTATIONS[name](batch, seeded(1)), AUGMENTATIONS[name](batch, seeded(1))
    assert first.shape == batch.shape
    assert first.dtype == dtype
    assert torch.equal(first, again)
    assert not torch.equal(first, batch)
    assert torch.equal(batch, before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", [*AUGMENTATIONS, "mixup"])
def test_the_draws_are_the_same_on_every_device_and_wait_for_none(name: str) -> None:
    """A tensor on meta has no values: whatever asked it for one would fail."""

    def apply(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return mixup(batch, generator, 0.4)[0] if name == "mixup" else AUGMENTATIONS[name](batch, generator)

    here, elsewhere = seeded(2), seeded(2)
    apply(images(), here)
    result = apply(images().to("meta"), elsewhere)
    assert result.device.type == "meta"
    assert result.shape == images().shape
    assert torch.equal(here.get_state(), elsewhere.get_state())


def test_mixup_is_the_convex_combination_of_a_row_and_its_partner() -> None:
    """Zhang et al. 2018, section 2."""
    batch = images().double()
    mixed, share, partner = mixup(batch, seeded(5), 0.7)
    assert isinstance(share, float)
    assert partner.sort().values.tolist() == list(range(5))
    assert partner.tolist() != list(range(5))
    for i in range(5):
        torch.testing.assert_close(mixed[i], share * batch[i] + (1 - share) * batch[partner[i]], rtol=1e-15, atol=0)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_the_share_of_mixup_is_of_the_beta_distribution(alpha: float) -> None:
    """Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2a + 1))."""
    generator, row = seeded(), torch.zeros(2, 1)
    shares = torch.tensor([mixup(row, generator, alpha)[1] for _ in range(2000)], dtype=torch.float64)
    variance = 1 / (4 * (2 * alpha + 1))
    assert ((shares >= 0) & (shares <= 1)).all()
    assert abs(shares.mean() - 0.5) < 4 * math.sqrt(variance / 2000)
    assert shares.var().item() == pytest.approx(variance, rel=0.1)
    scipy = pytest.importorskip("scipy.stats")
    assert scipy.kstest(shares.numpy(), scipy.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_mixup_repeats_with_its_seed_and_leaves_the_global_generators_alone() -> None:
    state = torch.get_rng_state()
    first, again, other = (mixup(images(), seeded(seed), 1.0) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert (first[1], first[2].tolist()) == (again[1], again[2].tolist())
    assert first[1] != other[1]
    assert torch.equal(torch.get_rng_state(), state)


def test_one_row_is_its_own_partner() -> None:
    mixed, _, partner = mixup(images(rows=1), seeded(), 1.0)
    assert partner.tolist() == [0]
    torch.testing.assert_close(mixed, images(rows=1))


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize(
    ("batch", "got"),
    [
        (torch.zeros(4, 3), r"torch.float32 of shape \(4, 3\)"),
        (torch.zeros(4, 1, 8, 8, dtype=torch.uint8), r"torch.uint8 of shape \(4, 1, 8, 8\)"),
    ],
)
def test_what_is_no_batch_of_images_is_refused(name: str, batch: torch.Tensor, got: str) -> None:
    with pytest.raises(ValueError, match=rf"floating-point images of shape \(N, C, H, W\); got {got}: ask for none"):
        AUGMENTATIONS[name](batch, seeded())


def test_a_negative_padding_is_refused() -> None:
    with pytest.raises(ValueError, match="padding must be at least 0; got -1"):
        random_crop(images(), seeded(), padding=-1)


def test_the_largest_alpha_of_mixup_gives_halves() -> None:
    assert mixup(torch.eye(3), seeded(), 1e6)[1] == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize("alpha", [0.0, -1.0, 1e7, 1e308, math.inf, math.nan])
def test_an_alpha_that_is_no_positive_number_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match=re.escape(f"mixup must be positive and at most 1e+06; got {alpha}")):
        mixup(images(), seeded(), alpha)


def test_integers_cannot_be_mixed() -> None:
    with pytest.raises(ValueError, match=r"mixup needs floating-point inputs; got torch.int64: call .float\(\)"):
        mixup(torch.eye(2, dtype=torch.long), seeded(), 1.0)
