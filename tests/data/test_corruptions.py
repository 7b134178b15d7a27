from __future__ import annotations

import sys
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter

from gence import InputError
from gence.data import corrupt
from gence.data.corruptions import CATALOGUE, SEVERITIES, names

every_corruption = pytest.mark.parametrize("name", names())


def pictures(rows: int, channels: int, size: int) -> np.ndarray:
    """Random shapes with soft and hard edges, from black to white: uint8 `(rows, channels, size, size)`."""
    generator = np.random.default_rng(0)
    soft = gaussian_filter(generator.normal(size=(rows, channels, size, size)), (0, 0, 2.0, 2.0))
    hard = gaussian_filter(generator.normal(size=(rows, 1, size, size)), (0, 0, 3.0, 3.0)) > 0
    values = soft / soft.std() + hard
    low, high = values.min((1, 2, 3), keepdims=True), values.max((1, 2, 3), keepdims=True)
    return np.rint(255 * (values - low) / (high - low)).astype(np.uint8)


PICTURES = {"colour 32": pictures(24, 3, 32), "grey 28": pictures(24, 1, 28)}


def test_brightness_adds_to_the_brightest_channel_and_keeps_the_ratio_of_the_others() -> None:
    pixels = np.array([[[[100]], [[200]], [[50]]], [[[0]], [[0]], [[0]]], [[[120]], [[240]], [[60]]]], np.uint8)
    result = corrupt(pixels, "brightness", 2, seed=0)[:, :, 0, 0]  # 0.1 * 255 = 25.5
    assert result[0].tolist() == [113, 226, 56]  # times 225.5 / 200
    assert result[1].tolist() == [26, 26, 26]  # black has no hue: it becomes grey
    assert result[2].tolist() == [128, 255, 64]  # full at 255, times 255 / 240


def test_contrast_pulls_every_channel_to_its_own_mean() -> None:
    pixels = np.array([[[[0, 200]], [[255, 255]]]], np.uint8)
    assert corrupt(pixels, "contrast", 2, seed=0).tolist() == [[[[50, 150]], [[255, 255]]]]


def test_a_pixelated_line_is_the_mean_of_the_pixels_whose_centres_share_a_block() -> None:
    line = np.array([0.0, 0.4, 0.8, 0.2]).reshape(1, 1, 1, 4)
    # At severity 3, 4 * 0.85 = 3 blocks of 4/3 pixels: the centres 0.5, 1.5, 2.5, 3.5 lie in blocks 0, 1, 1, 2.
    np.testing.assert_allclose(corrupt(line, "pixelate", 3, seed=0)[0, 0, 0], [0.0, 0.6, 0.6, 0.2])


def one_by_one(image: np.ndarray, name: str, strength: float, generator: np.random.Generator) -> np.ndarray:
    """The naive loop: one image `(channels, height, width)` in [0, 1], channel by channel, pixel by pixel."""
    result = np.empty_like(image)
    brightest = image.max(axis=0)
    for channel, plane in enumerate(image):
        for (y, x), value in np.ndenumerate(plane):
            if name == "gaussian_noise":
                new = value + generator.normal(0.0, strength)
            elif name == "shot_noise":
                new = generator.poisson(value * strength) / strength
            elif name == "impulse_noise":
                draw = generator.uniform()
                new = 0.0 if draw < strength / 2 else 1.0 if draw >= 1 - strength / 2 else value
            elif name == "contrast":
                new = strength * value + (1 - strength) * plane.mean()
            elif name == "brightness":
                ratio = value / brightest[y, x] if brightest[y, x] > 0 else 1.0
                new = ratio * min(brightest[y, x] + strength, 1.0)
            elif name == "gaussian_blur":
                near = np.arange(-6, 7)
                weight = np.where(abs(near) <= int(4 * strength + 0.5), np.exp(-(near**2) / (2 * strength**2)), 0.0)
                ys, xs = np.clip(y + near, 0, len(plane) - 1), np.clip(x + near, 0, plane.shape[1] - 1)
                new = weight @ plane[np.ix_(ys, xs)] @ weight / weight.sum() ** 2
            else:
                raise AssertionError(name)
            result[channel, y, x] = new
    return result.clip(0.0, 1.0)


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("name", [name for name in names() if name not in ("jpeg", "pixelate")])
def test_the_whole_array_at_once_is_the_naive_loop_over_pixels(name: str, kind: str) -> None:
    images = PICTURES[kind][:2, :, :15, :12] / 255
    for severity in (1, 5):
        generator = np.random.default_rng(7)
        strength = CATALOGUE[name].strengths[severity - 1]
        expected = np.stack([one_by_one(image, name, strength, generator) for image in images])
        np.testing.assert_allclose(corrupt(images, name, severity, seed=7), expected, atol=1e-12)


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_pillow_and_scipy_give_the_same_for_every_single_image(kind: str, severity: int) -> None:
    strength = {name: CATALOGUE[name].strengths[severity - 1] for name in names()}
    corrupted = {
        name: corrupt(PICTURES[kind], name, severity, seed=0) for name in ("jpeg", "pixelate", "gaussian_blur")
    }
    for row, image in enumerate(PICTURES[kind]):
        file = BytesIO()
        Image.fromarray(np.moveaxis(image, 0, 2).squeeze()).save(file, "JPEG", quality=strength["jpeg"])
        decoded = np.atleast_3d(np.asarray(Image.open(file)))
        np.testing.assert_array_equal(corrupted["jpeg"][row], np.moveaxis(decoded, 2, 0))
        for channel, plane in enumerate(image):
            side = len(plane)
            coarse = (int(side * strength["pixelate"]),) * 2
            boxes = (
                Image.fromarray(plane).resize(coarse, Image.Resampling.BOX).resize((side, side), Image.Resampling.BOX)
            )
            # Pillow rounds after each of its passes.
            np.testing.assert_allclose(corrupted["pixelate"][row, channel], np.asarray(boxes, float), atol=2)
            blurred = gaussian_filter(plane.astype(float), strength["gaussian_blur"], mode="nearest")
            np.testing.assert_allclose(corrupted["gaussian_blur"][row, channel], blurred, atol=0.5 + 1e-9)


@pytest.mark.parametrize("kind", PICTURES)
@every_corruption
def test_every_severity_is_further_from_the_clean_images_than_the_one_below(name: str, kind: str) -> None:
    images = PICTURES[kind]
    distance = [
        ((corrupt(images, name, severity, seed=0).astype(float) - images) ** 2).mean() for severity in (0, *SEVERITIES)
    ]
    assert distance[0] == 0
    assert (np.diff(distance) > 0).all()


@every_corruption
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_shape_and_dtype_are_kept_and_the_images_given_are_not_touched(name: str, dtype: type) -> None:
    clean = PICTURES["colour 32"][:5, :, :20]
    images = clean if dtype == np.uint8 else (clean / 255).astype(dtype)
    images.setflags(write=False)
    for severity in (0, 3):
        result = corrupt(images, name, severity, seed=0)
        assert (result.shape, result.dtype) == (images.shape, images.dtype)
        assert not np.shares_memory(result, images)
    np.testing.assert_array_equal(corrupt(images, name, 0, seed=0), images)
    as_bytes = corrupt(clean, name, 3, seed=0) / 255
    as_given = corrupt(images, name, 3, seed=0) / (255 if dtype == np.uint8 else 1)
    # Rounding to a byte, and for shot noise the float32 that a Poisson draw starts from.
    assert np.quantile(abs(as_given - as_bytes), 0.99) <= 0.5 / 255 + 1e-6
    assert 0.0 <= as_given.min() <= as_given.max() <= 1.0


@every_corruption
def test_the_seed_decides_the_noise_and_nothing_else(name: str) -> None:
    images = PICTURES["grey 28"]
    first = corrupt(images, name, 4, seed=3)
    np.testing.assert_array_equal(corrupt(images, name, 4, seed=3), first)
    noisy = name.endswith("noise")
    assert np.array_equal(corrupt(images, name, 4, seed=4), first) != noisy


def test_with_one_seed_gaussian_and_impulse_noise_strike_the_same_places_at_every_severity() -> None:
    grey = np.full((3, 1, 8, 8), 0.5)
    low, high = (corrupt(grey, "gaussian_noise", severity, seed=0) - 0.5 for severity in (1, 5))
    np.testing.assert_allclose(high, 2.5 * low)
    low, high = (corrupt(grey, "impulse_noise", severity, seed=0) != 0.5 for severity in (2, 5))
    assert low.any()
    assert (low <= high).all()


@settings(max_examples=20, deadline=None)
@given(name=st.sampled_from(names()), rows=st.integers(0, 7), at_once=st.integers(1, 9))
def test_later_rows_and_the_size_of_the_pieces_do_not_matter(name: str, rows: int, at_once: int) -> None:
    images = PICTURES["colour 32"][:8, :, :9, :11]
    whole = corrupt(images, name, 2, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gence.data.corruptions._ROWS_AT_ONCE", at_once)
        np.testing.assert_array_equal(corrupt(images[:rows], name, 2, seed=0), whole[:rows])


@every_corruption
def test_another_white_is_another_unit_and_nothing_else(name: str) -> None:
    images = PICTURES["grey 28"][:4] / 255
    np.testing.assert_allclose(
        corrupt(16 * images, name, 3, seed=0, white=16), 16 * corrupt(images, name, 3, seed=0), atol=1e-9
    )
    digits = np.rint(16 * images).astype(np.uint8)
    result = corrupt(digits, name, 5, seed=0, white=16)
    assert result.dtype == np.uint8
    assert 8 < result.max() <= 16


GOOD = np.full((2, 3, 8, 8), 200, np.uint8)


@pytest.mark.parametrize(
    ("images", "name", "severity", "white", "message"),
    [
        (
            GOOD,
            "gausian_blur",
            1,
            None,
            "unknown corruption 'gausian_blur': did you mean 'gaussian_blur'. known: gauss",
        ),
        (GOOD, "jpeg", 6, None, "severity must be 1, 2, 3, 4 or 5, or 0 for none; got 6"),
        (GOOD, "jpeg", -1, None, "got -1"),
        (GOOD, "jpeg", 2.5, None, "got 2.5"),
        (GOOD, "jpeg", True, None, "got True"),
        (GOOD[0], "contrast", 1, None, r"shape \(rows, channels, height, width\); got \(3, 8, 8\)"),
        ([1], "contrast", 1, None, "must be a numpy array .* got list"),
        (GOOD.transpose(0, 2, 3, 1), "contrast", 1, None, r"looks channels-last: use images.transpose\(0, 3, 1, 2\)"),
        (GOOD.astype(np.int64), "contrast", 1, None, "images must be uint8 or floating point; got int64"),
        (GOOD // 20, "contrast", 1, None, "the brightest pixel of these uint8 images is 10, .* give white="),
        (
            GOOD.astype(np.float32),
            "contrast",
            1,
            None,
            r"in \[0, 1\] without NaN; got values from 200 to 200: corrupt bef",
        ),
        (GOOD - 200.0 * np.nan, "contrast", 1, None, r"in \[0, 1\] without NaN; got values from nan"),
        (GOOD / 255 - 1, "contrast", 0, None, r"in \[0, 1\] without NaN"),
        (GOOD, "contrast", 1, 100, r"in \[0, 100\]"),
        (
            GOOD,
            "contrast",
            1,
            1000,
            "white must be the value of a white pixel, above 0 and for uint8 at most 255; got 1000",
        ),
        (GOOD / 255, "contrast", 1, 0, "got 0"),
        (GOOD[:, :2], "jpeg", 1, None, "jpeg needs images of 1 or 3 channels; these have 2: choose another corruption"),
    ],
)
def test_what_cannot_be_corrupted_is_refused_with_the_cure(images, name: str, severity, white, message: str) -> None:
    with pytest.raises(InputError, match=message):
        corrupt(images, name, severity, seed=0, white=white)


@pytest.mark.parametrize(("name", "package"), [("jpeg", "PIL"), ("gaussian_blur", "scipy.ndimage")])
def test_a_missing_package_is_named_with_its_extra(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"corruption '{name}' needs {package}; pip install 'gence\[lab\]'"):
        corrupt(GOOD, name, 1, seed=0)
