"""Images as users have them: every kind of pixels and every reason to refuse one."""

import io
import pathlib
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from gato_jax.errors import GatoError
from rlds_builders.files import images

RED, WHITE = (255, 0, 0), (255, 255, 255)


def encoded(image: Image.Image, form: str = "PNG", **options) -> bytes:
  file = io.BytesIO()
  image.save(file, form, **options)
  return file.getvalue()


def bands(mode: str, left, right) -> Image.Image:
  """An image of 32x32 pixels in two colours, left and right."""
  image = Image.new(mode, (32, 32), left)
  image.paste(right, (16, 0, 32, 32))
  return image


def palette(transparent: bool) -> bytes:
  image = bands("P", 0, 1)
  image.putpalette([*RED, 0, 0, 255])
  return encoded(image, **({"transparency": 1} if transparent else {}))


def grey_of_16_bits(form: str) -> bytes:
  values = np.full((32, 32), 0x80FF, np.uint16)
  values[:, 16:] = 0xFFFF
  return encoded(Image.fromarray(values), form)


GREY = (128, 128, 128)
KINDS = {
  "RGB": (encoded(bands("RGB", RED, WHITE)), RED, WHITE),
  "JPEG": (encoded(bands("RGB", RED, WHITE), "JPEG", quality=95), RED, WHITE),
  "WebP": (encoded(bands("RGB", RED, WHITE), "WEBP", lossless=True), RED, WHITE),
  "GIF": (encoded(bands("RGB", RED, WHITE), "GIF"), RED, WHITE),
  "greyscale": (encoded(bands("L", 128, 255)), GREY, WHITE),
  "16-bit PNG": (grey_of_16_bits("PNG"), GREY, WHITE),
  "16-bit TIFF": (grey_of_16_bits("TIFF"), GREY, WHITE),
  "16-bit PGM": (b"P5 32 32 65535\n" + (b"\x80\xff" * 16 + b"\xff\xff" * 16) * 32, GREY, WHITE),
  "1-bit": (encoded(bands("1", 0, 1)), (0, 0, 0), WHITE),
  "palette": (palette(transparent=False), RED, (0, 0, 255)),
  "palette with a transparent colour": (palette(transparent=True), RED, WHITE),
  "CMYK": (encoded(bands("CMYK", (0, 255, 255, 0), (0, 0, 0, 0)), "JPEG", quality=95), RED, WHITE),
  "alpha": (encoded(bands("RGBA", (255, 0, 0, 128), (0, 0, 0, 0))), (255, 127, 127), WHITE),
  "grey with alpha": (encoded(bands("LA", (128, 255), (0, 0))), GREY, WHITE),
  "a transparent colour": (
    encoded(bands("RGB", RED, (0, 255, 0)), transparency=(0, 255, 0)),
    RED,
    WHITE,
  ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_pixels(kind):
  content, left, right = KINDS[kind]
  fitted = images.fit(content, 32, kind)
  assert fitted.shape == (32, 32, 3) and fitted.dtype == np.uint8
  np.testing.assert_allclose(fitted[8:24, 4:12].mean(axis=(0, 1)), left, atol=3)
  np.testing.assert_allclose(fitted[8:24, 20:28].mean(axis=(0, 1)), right, atol=3)


@pytest.mark.parametrize(
  ("width", "height", "shape"),
  [
    (640, 480, (48, 64)),
    (480, 640, (64, 48)),
    (640, 400, (48, 64)),  # 40 lies half way and becomes 48
    (640, 399, (32, 64)),
    (1000, 3, (16, 64)),
    (12, 36, (64, 16)),  # small ones grow
    (1, 1, (64, 64)),
  ],
)
def test_sides_are_multiples_of_16(width, height, shape):
  content = encoded(Image.new("RGB", (width, height), RED))
  assert images.fit(content, 64, "x").shape == (*shape, 3)


def test_the_orientation_in_exif_is_followed():
  exif = Image.Exif()
  exif[0x0112] = 6  # turn a quarter to the right
  picture = Image.new("RGB", (64, 32), WHITE)
  picture.paste(RED, (0, 0, 32, 32))
  fitted = images.fit(encoded(picture, "JPEG", exif=exif, quality=95), 64, "x")

  assert fitted.shape == (64, 32, 3)
  np.testing.assert_allclose(fitted[8, 16], RED, atol=8)
  np.testing.assert_allclose(fitted[56, 16], WHITE, atol=8)


def png_header(width: int, height: int) -> bytes:
  """A PNG whose header gives that size, with nothing behind it."""
  header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
  chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
  return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 4) + b"IDAT"


NOISE = encoded(
  Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)), "JPEG"
)


@pytest.mark.parametrize(
  ("content", "reason"),
  [
    (b"", "the file is empty"),
    (b"<html>404</html>", "not a picture of JPEG, PNG"),
    (NOISE[: len(NOISE) // 2], "damaged .*truncated"),
    (encoded(Image.new("RGB", (64, 64)))[:60], "damaged"),
    (png_header(8193, 8192), "too large, more than 67,108,864 pixels"),
    (png_header(60000, 60000), "too large"),  # Pillow itself refuses
    (png_header(10000, 10000), "too large"),  # Pillow itself warns
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not a picture of JPEG"),
    (encoded(Image.new("F", (32, 32), 0.5), "TIFF"), "its pixels are floating-point numbers"),
    (encoded(Image.new("I", (32, 32), 70_000), "TIFF"), "grey of 32 bits, signed"),
  ],
)
def test_what_is_no_picture_is_refused_by_name(tmp_path, content, reason):
  path = tmp_path / "cat.jpg"
  path.write_bytes(content)
  for picture, name in ((path, str(path)), (content, "cat 7 of pets.tar")):
    with pytest.raises(images.BadImage, match=reason) as refused:
      images.fit(picture, 64, name)
    assert str(refused.value).startswith(f"{name}: ") and "\n" not in str(refused.value)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(monkeypatch):
  def decoded(*args):
    raise AssertionError("it was decoded")

  monkeypatch.setattr(Image.Image, "load", decoded)
  with pytest.raises(images.BadImage, match="too large"):
    images.fit(png_header(8193, 8192), 64, "bomb.png")


def test_paths_that_are_no_files_are_refused_by_name(tmp_path):
  for path, reason in (
    (tmp_path / "none.png", "No such file"),
    (tmp_path, "Is a directory"),
    ("a\0b", "null"),
  ):
    with pytest.raises(images.BadImage, match=reason):
      images.fit(path, 64)


@pytest.mark.parametrize("side", [0, 8, 50, -16])
def test_a_side_that_is_no_multiple_of_16_is_an_error(side):
  with pytest.raises(GatoError, match=f"side of {side}; it must be a multiple of 16"):
    images.fit(NOISE, side, "x")


def damaged() -> list[bytes]:
  """Small images of seven formats with one byte changed, the same ones every time."""
  draw = np.random.default_rng(1)
  found = []

  for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"):
    whole = encoded(Image.fromarray(draw.integers(0, 256, (20, 30, 3), np.uint8)), form)
    for _ in range(60):
      content = bytearray(whole)
      content[draw.integers(min(100, len(content)))] = draw.integers(256)
      found.append(bytes(content))

  return found


def test_damage_of_any_kind_is_refused_or_passed_over():
  refused = 0
  for content in damaged():
    try:
      fitted = images.fit(content, 32, "x")
    except images.BadImage:
      refused += 1
    else:
      assert max(fitted.shape) == 32

  assert 20 < refused < len(damaged()) - 20


def test_a_set_goes_on_without_what_is_refused(tmp_path: pathlib.Path, capsys):
  gate = images.ImageSkipCounter("cats, train", 32)
  fitted = [gate.fit(NOISE if i % 20 else b"", f"cat {i}") for i in range(200)]
  gate.finish()

  assert sum(picture is None for picture in fitted) == 10

  lines = capsys.readouterr().err.splitlines()

  assert lines[0] == "refused: cat 0: the file is empty" and len(lines) == 11
  assert lines[-1] == "cats, train: refused 10 of 200 pictures"


def test_a_set_of_which_nothing_is_refused_says_nothing(capsys):
  gate = images.ImageSkipCounter("cats, train", 32)
  gate.fit(NOISE, "cat")
  gate.finish()
  assert not capsys.readouterr().err


def test_too_many_refused_pictures_are_an_error():
  gate = images.ImageSkipCounter("cats, train", 32)
  for i in range(99):
    gate.fit(b"" if i % 2 else NOISE, f"cat {i}")  # half of them, but fewer than a hundred

  with pytest.raises(
    GatoError, match=r"cats, train: refused 50 of 100 pictures, more than 10%; .*cat 99: .*empty"
  ):
    gate.fit(b"", "cat 99")


def test_a_set_of_which_all_is_refused_is_an_error():
  gate = images.ImageSkipCounter("cats, train", 32)
  gate.fit(b"", "cat")
  with pytest.raises(GatoError, match="cats, train: refused 1 of 1 pictures, all there are"):
    gate.finish()
