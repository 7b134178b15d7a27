from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gence._errors import InputError
from gence.data.images import decode_images


def encoded(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def decode(*contents: bytes | Path, image_size: int | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    items = [(f"image {number}", content) for number, content in enumerate(contents)]
    decoded = decode_images(len(items), lambda: items, image_size)
    return decoded.images, decoded.notes


def test_colours_come_out_as_they_went_in() -> None:
    first, second = noise(5, 7, 3), noise(5, 7, 3)[::-1]

    images, notes = decode(encoded(Image.fromarray(first)), encoded(Image.fromarray(second), "BMP"))

    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, np.stack([first, second]).transpose(0, 3, 1, 2))
    assert notes == ()


def test_grey_images_have_one_channel() -> None:
    pixels = noise(5, 7)

    images, _ = decode(encoded(Image.fromarray(pixels)), encoded(Image.fromarray(pixels), "GIF"))

    np.testing.assert_array_equal(images, np.stack([pixels, pixels])[:, None])


@pytest.mark.parametrize("colour_first", [True, False])
def test_grey_among_colour_becomes_colour(colour_first: bool) -> None:
    grey, colour = noise(5, 7), noise(5, 7, 3)
    contents = [encoded(Image.fromarray(grey)), encoded(Image.fromarray(colour))]

    images, notes = decode(*(contents[::-1] if colour_first else contents))

    np.testing.assert_array_equal(images[int(colour_first)], np.stack([grey] * 3))
    np.testing.assert_array_equal(images[int(not colour_first)], colour.transpose(2, 0, 1))
    assert notes == ()


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"])
def test_every_format_is_read(file_format: str) -> None:
    images, _ = decode(encoded(Image.new("RGB", (4, 4), (200, 100, 50)), file_format))

    np.testing.assert_allclose(images[0].mean((1, 2)), (200, 100, 50), atol=4)


def test_a_format_that_is_not_known_is_refused() -> None:
    with pytest.raises(InputError, match=r"image 0: the image cannot be read \(damaged, or not an image\)"):
        decode(encoded(Image.new("RGB", (4, 4)), "PPM"))


def test_black_and_white_is_grey() -> None:
    images, _ = decode(encoded(Image.fromarray(np.eye(4, dtype=bool))))

    np.testing.assert_array_equal(images[0, 0], np.eye(4) * 255)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bits_keep_the_upper_eight(file_format: str) -> None:
    pixels = np.array([[0, 255, 256], [0x1234, 0xABCD, 0xFFFF]], np.uint16)

    images, _ = decode(encoded(Image.fromarray(pixels), file_format))

    assert images[0, 0].tolist() == [[0, 0, 1], [0x12, 0xAB, 0xFF]]


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.zeros((2, 2), np.float32), "image 0: the pixels are fractions; 8 or 16 bits"),
        (np.array([[0, 65536]], np.int32), "image 0: grey values from 0 to 65536; 8 or 16 bits are expected"),
        (np.array([[-1, 5]], np.int32), "image 0: grey values from -1 to 5; 8 or 16 bits are expected"),
    ],
)
def test_pixels_beyond_sixteen_bits_are_refused(pixels: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        decode(encoded(Image.fromarray(pixels), "TIFF"))


def test_transparent_pixels_show_white() -> None:
    colour = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)

    images, notes = decode(encoded(Image.fromarray(colour)))

    assert images[0].transpose(1, 2, 0).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    assert notes == ("showed the transparent pixels of 1 image in white",)


def test_transparent_grey_stays_grey_and_shows_white() -> None:
    images, notes = decode(encoded(Image.fromarray(np.array([[[10, 255], [10, 0]]], np.uint8), "LA")))

    assert images.tolist() == [[[[10, 255]]]]
    assert notes == ("showed the transparent pixels of 1 image in white",)


def test_a_palette_with_a_transparent_colour_shows_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)

    images, notes = decode(encoded(image, transparency=b"\xff\x00"))

    assert images[0].transpose(1, 2, 0).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    assert len(notes) == 1


def test_an_alpha_channel_without_effect_needs_no_note() -> None:
    pixels = np.concatenate([noise(3, 3, 3), np.full((3, 3, 1), 255, np.uint8)], axis=2)

    images, notes = decode(encoded(Image.fromarray(pixels)))

    np.testing.assert_array_equal(images[0], pixels[:, :, :3].transpose(2, 0, 1))
    assert notes == ()


def test_a_photograph_is_turned_upright_before_its_size_counts() -> None:
    wide = Image.fromarray(np.repeat(np.array([[0, 250]], np.uint8), 16, axis=0).repeat(16, axis=1))
    exif = Image.Exif()
    exif[0x0112] = 6

    images, notes = decode(encoded(wide, "JPEG", exif=exif))

    assert images.shape == (1, 1, 32, 16)
    assert images[0, 0, :12].max() < 20
    assert images[0, 0, 20:].min() > 230
    assert notes == ()


def test_images_of_one_size_up_to_64_pixels_keep_it() -> None:
    images, notes = decode(encoded(Image.new("RGB", (64, 20))), encoded(Image.new("RGB", (64, 20))))

    assert images.shape == (2, 3, 20, 64)
    assert notes == ()


def test_larger_images_become_64_by_64() -> None:
    pixels = noise(70, 65, 3)

    images, notes = decode(encoded(Image.fromarray(pixels)))

    resized = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(images[0], np.asarray(resized).transpose(2, 0, 1))
    assert notes == ("resized 1 image of 65 x 70 pixels to 64 x 64",)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_images_of_several_sizes_become_64_by_64(order: tuple[int, ...]) -> None:
    contents = [encoded(Image.new("L", size, 77)) for size in ((8, 8), (8, 8), (30, 90))]

    images, notes = decode(*(contents[number] for number in order))

    assert images.shape == (3, 1, 64, 64)
    assert (images == 77).all()
    assert notes == ("resized 3 images of 2 different sizes to 64 x 64",)


def test_the_size_asked_for_may_be_a_single_pixel() -> None:
    assert decode(encoded(Image.new("L", (8, 8), 9)), image_size=1)[0].tolist() == [[[[9]]]]


def test_the_size_asked_for_wins() -> None:
    content = encoded(Image.new("L", (8, 8)))

    images, notes = decode(content, content, image_size=12)
    same, no_notes = decode(content, image_size=8)

    assert images.shape == (2, 1, 12, 12)
    assert notes == ("resized 2 images of 8 x 8 pixels to 12 x 12",)
    assert same.shape == (1, 1, 8, 8)
    assert no_notes == ()


@pytest.mark.parametrize("content", [b"", b"not an image", encoded(Image.fromarray(noise(9, 9, 3)))[:-40]])
@pytest.mark.parametrize("first", [True, False])
def test_a_broken_image_is_refused_by_name(content: bytes, first: bool) -> None:
    good = encoded(Image.fromarray(noise(9, 9, 3)))

    with pytest.raises(
        InputError, match=rf"image {int(not first)}: the image cannot be read \(.*\); mend it or"
    ) as caught:
        decode(*((content, good) if first else (good, content)))
    assert "\n" not in str(caught.value)
    assert " at 0x" not in str(caught.value)


def test_a_broken_image_is_also_found_when_all_are_resized() -> None:
    good, larger = encoded(Image.fromarray(noise(9, 9, 3))), encoded(Image.fromarray(noise(80, 80, 3)))

    with pytest.raises(InputError, match=r"image 2: the image cannot be read"):
        decode(good, larger, larger[: len(larger) // 2])


def test_an_image_of_absurd_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    with pytest.raises(InputError, match=r"image 0: the image cannot be read \(Image size \(900 pixels\)"):
        decode(encoded(Image.new("L", (30, 30))))


def test_files_are_read_like_bytes(tmp_path: Path) -> None:
    pixels = noise(5, 7, 3)
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(pixels)))

    images, _ = decode(tmp_path / "a.png")

    np.testing.assert_array_equal(images[0], pixels.transpose(2, 0, 1))


def test_the_images_are_in_memory_once() -> None:
    content = encoded(Image.fromarray(noise(40, 40, 3)))

    def items() -> Iterator[tuple[str, bytes]]:
        return (("image", content) for _ in range(500))

    decode_images(1, lambda: [("image", content)], None)
    tracemalloc.start()
    images = decode_images(500, items, None).images
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1.2 * images.nbytes


def test_images_that_look_alike_are_opened_once() -> None:
    passes: list[int] = []
    content = encoded(Image.fromarray(noise(5, 5)))

    def items() -> Iterable[tuple[str, bytes]]:
        passes.append(0)
        for _ in range(9):
            passes[-1] += 1
            yield "image", content

    decode_images(9, items, None)

    assert passes == [1, 9]
