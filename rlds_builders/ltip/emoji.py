"""Emoji as Noto draws them, with CLDR's English names: glyphs of a font that are PNG files in it.

An emoji of several characters (a flag, a profession) is a ligature of the font.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterator
from xml.etree import ElementTree

from fontTools import ttLib

from gato_jax.errors import MissingData
from rlds_builders import _sources

FONT = pathlib.Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
CLDR = pathlib.Path("/usr/share/unicode/cldr/common")
_LIGATURES = 4  # the type of a substitution of several glyphs by one
_SKIN_TONES = set(map(chr, range(0x1F3FB, 0x1F400)))
_LABEL = re.compile(r"^\[(.*)\]\s*;\s*([^;]+?)\s*;\s*(.*?)\s*$")
_MEMBER = re.compile(r"\{(.+?)\}|(.)-(.)|(.)")
_AS_TEXT = "\N{VARIATION SELECTOR-16}"  # in labels, not in names


@dataclasses.dataclass(frozen=True)
class Emoji:
  """kind: CLDR's two labels, e.g. ("Animals & Nature", "animal-bird"), or () where it has none."""

  characters: str
  name: str
  kind: tuple[str, ...]
  png: bytes


def find(domain: str, split: str) -> list[Emoji]:
  """Emoji of a split in CLDR's order; their characters say which split. None of skin tones: five more of one thing.

  domain: who asks, for the message.

  Raises:
    MissingData: the font or the names are not installed. GatoError: unknown split.
  """
  _sources.check_split(split)
  for path, package in ((FONT, "fonts-noto-color-emoji"), (CLDR / "annotations/en.xml", "unicode-cldr-core")):
    if not path.exists():
      raise MissingData(f"{domain}: {path} is not there; run apt-get install {package}")
  wanted = {
    characters: name
    for characters, name in _names()
    if not _SKIN_TONES & set(characters) and _sources.is_validation(characters) == (split == "validation")
  }
  kinds = _kinds()
  drawn = _drawn(wanted)
  return [Emoji(c, name, kinds.get(c, ()), drawn[c]) for c, name in wanted.items() if c in drawn]


def _names() -> Iterator[tuple[str, str]]:
  for folder in ("annotations", "annotationsDerived"):
    for annotation in ElementTree.parse(CLDR / folder / "en.xml").iter("annotation"):
      if annotation.get("type") == "tts":
        yield annotation.get("cp"), annotation.text


def _kinds() -> dict[str, tuple[str, ...]]:
  """Characters -> labels; a line of the file is "[members] ; label ; label within it"."""
  kinds = {}
  for line in (CLDR / "properties/labels.txt").read_text(encoding="utf-8").splitlines():
    if match := _LABEL.match(line):
      members, *labels = match.groups()
      for several, first, last, one in _MEMBER.findall(members):
        for code in range(ord(first), ord(last) + 1) if first else (several or one,):
          kinds[(chr(code) if first else code).replace(_AS_TEXT, "")] = tuple(labels)
  return kinds


def _drawn(wanted: dict[str, str]) -> dict[str, bytes]:
  """Characters -> PNG, of those that the font draws in colours."""
  with ttLib.TTFont(FONT, lazy=True) as font:
    glyphs, bitmaps = font.getBestCmap(), font["CBDT"].strikeData[0]
    ligatures = {
      (first, *ligature.Component): ligature.LigGlyph
      for lookup in font["GSUB"].table.LookupList.Lookup
      if lookup.LookupType == _LIGATURES
      for table in lookup.SubTable
      for first, several in table.ligatures.items()
      for ligature in several
    }
    drawn = {}
    for characters in wanted:
      parts = tuple(glyphs.get(ord(character)) for character in characters)
      glyph = parts[0] if len(parts) == 1 else ligatures.get(parts)
      if glyph in bitmaps:
        drawn[characters] = bytes(bitmaps[glyph].imageData)
    return drawn
