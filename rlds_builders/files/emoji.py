"""Reads emoji as Noto draws them, with CLDR's English names.

The glyphs of the font are PNG files within it. An emoji of several characters (a flag, a
profession) is a ligature of the font.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Iterator
from xml.etree import ElementTree

from fontTools import ttLib

from gato_jax.errors import MissingData
from rlds_builders.base import sources

FONT = pathlib.Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
CLDR = pathlib.Path("/usr/share/unicode/cldr/common")

# OpenType's type of a substitution of several glyphs by one.
_LIGATURES = 4
_SKIN_TONES = set(map(chr, range(0x1F3FB, 0x1F400)))

# A line of labels.txt: "[members] ; label ; label within it".
_LABEL = re.compile(r"^\[(.*)\]\s*;\s*([^;]+?)\s*;\s*(.*?)\s*$")

# A member: "{several characters}", "first-last", or a single character.
_MEMBER = re.compile(r"\{(.+?)\}|(.)-(.)|(.)")

# It stands behind some characters in labels, but not in names.
_VARIATION_SELECTOR = "\N{VARIATION SELECTOR-16}"


@dataclasses.dataclass(frozen=True)
class Emoji:
  """A captioned image.

  Attributes:
    characters: The emoji as Unicode text.
    name: CLDR's English name.
    kind: CLDR's two labels, e.g. ("Animals & Nature", "animal-bird"), or () where it has none.
    png: Bytes of the image file.
  """

  characters: str
  name: str
  kind: tuple[str, ...]
  png: bytes


def find(domain: str, split: str) -> list[Emoji]:
  """Returns the emoji of a split in CLDR's order.

  The hash of an emoji's characters decides its split. Those with a skin tone are left out: five
  more images of one thing.

  Args:
    domain: Name of the domain that reads them, for messages.
    split: "train" or "validation".

  Raises:
    MissingData: The font or the names are not installed.
    GatoError: Unknown split.
  """
  sources.check_split(split)
  packages = {
    FONT: "fonts-noto-color-emoji",
    CLDR / "annotations/en.xml": "unicode-cldr-core",
  }
  for path, package in packages.items():
    if not path.exists():
      raise MissingData(f"{domain}: {path} is not there; run apt-get install {package}")

  names = {}
  for characters, name in _names():
    in_split = sources.is_validation(characters) == (split == "validation")
    if in_split and not _SKIN_TONES & set(characters):
      names[characters] = name

  kinds = _kinds()
  images = _images(names)
  emoji = []
  for characters, name in names.items():
    if characters in images:
      kind = kinds.get(characters, ())
      emoji.append(Emoji(characters, name, kind=kind, png=images[characters]))
  return emoji


def _names() -> Iterator[tuple[str, str]]:
  """Yields (characters, name) of all of CLDR's annotations."""
  for directory in ("annotations", "annotationsDerived"):
    for annotation in ElementTree.parse(CLDR / directory / "en.xml").iter("annotation"):
      # The type of names is text-to-speech; the other annotations are key words.
      if annotation.get("type") == "tts":
        yield annotation.get("cp", ""), annotation.text or ""


def _kinds() -> dict[str, tuple[str, ...]]:
  """Returns CLDR's two labels by characters."""
  kinds = {}
  for line in (CLDR / "properties/labels.txt").read_text(encoding="utf-8").splitlines():
    match = _LABEL.match(line)
    if not match:
      continue

    members, *labels = match.groups()
    for sequence, first, last, single in _MEMBER.findall(members):
      if first:
        characters = [chr(code) for code in range(ord(first), ord(last) + 1)]
      else:
        characters = [sequence or single]
      for character in characters:
        kinds[character.replace(_VARIATION_SELECTOR, "")] = tuple(labels)
  return kinds


def _images(emoji: Iterable[str]) -> dict[str, bytes]:
  """Returns the PNG files of those emoji that the font draws in colours, by characters."""
  with ttLib.TTFont(FONT, lazy=True) as font:
    glyphs = font.getBestCmap()
    bitmaps = font["CBDT"].strikeData[0]

    # Glyphs of the single characters -> the glyph that stands for all of them.
    ligatures = {}
    for lookup in font["GSUB"].table.LookupList.Lookup:
      if lookup.LookupType != _LIGATURES:
        continue
      for table in lookup.SubTable:
        for first, candidates in table.ligatures.items():
          for ligature in candidates:
            ligatures[first, *ligature.Component] = ligature.LigGlyph

    images = {}
    for characters in emoji:
      parts = tuple(glyphs.get(ord(character)) for character in characters)
      glyph = parts[0] if len(parts) == 1 else ligatures.get(parts)
      if glyph in bitmaps:
        images[characters] = bytes(bitmaps[glyph].imageData)
    return images
