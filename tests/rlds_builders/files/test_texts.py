"""Text documents of Debian packages, in all their formats."""

import gzip
import pathlib
import re
import struct

import pytest
import tensorflow_datasets as tfds

from gato_jax.documents import SPLITS
from gato_jax.errors import GatoError, MissingData
from rlds_builders.base import sources
from rlds_builders.text import debian, documents

INSTALLED = {  # package -> a file of it
  "bible": debian.BIBLE,
  "wordnet": debian.WORDNET / "data.noun",
  "gcide": debian.DICTIONARIES / "gcide.index",
  "foldoc": debian.DICTIONARIES / "foldoc.index",
  "fortunes": debian.FORTUNES / "fortunes",
}
PACKAGES = {
  "bible": "bible-kjv-text",
  "wordnet": "wordnet-base",
  "gcide": "dict-gcide",
  "foldoc": "dict-foldoc",
}
PACKAGES["fortunes"] = "fortunes-min"


@pytest.fixture(scope="module")
def whole() -> dict[str, list[str]]:
  """All documents of the packages that are installed."""
  return {
    task: list(documents.READERS[task]()) for task, path in INSTALLED.items() if path.exists()
  }


def installed(whole: dict[str, list[str]], task: str) -> list[str]:
  if task not in whole:
    pytest.skip(f"not installed: apt-get install {PACKAGES[task]}")
  return whole[task]


@pytest.mark.parametrize("task", INSTALLED)
def test_splits_of_packages_are_parts_of_the_whole(whole, task):
  everything = installed(whole, task)
  validation = list(documents.read(task, "validation"))
  train = [document for document in everything if not sources.is_validation(document)]

  assert sorted(train + validation) == sorted(everything) and validation
  assert next(documents.read(task, "train")) == train[0]
  assert len(set(everything)) == len(everything)
  assert all(document.endswith("\n") and document.strip() for document in everything)
  assert "\x00" not in "".join(everything) and "\ufffd" not in "".join(everything)


def test_every_verse_of_the_bible(whole):
  chapters = installed(whole, "bible")
  assert len(chapters) == 1_189
  assert sum(len(chapter.strip().split("\n")) - 2 for chapter in chapters) == 31_102
  assert chapters[0].startswith(
    "Genesis 1\n\n1 In the beginning God created the heaven and the earth.\n2 And"
  )
  assert chapters[-1].startswith("Revelation 22\n\n1 And he shewed me a pure river")

  (john,) = (chapter for chapter in chapters if chapter.startswith("1 John 4\n"))

  assert "\n8 He that loveth not knoweth not God; for God is love.\n" in john


def test_every_meaning_of_wordnet(whole):
  lines = [
    line for document in installed(whole, "wordnet") for line in document.strip().split("\n")
  ]
  counts = {part: sum(f" ({part}): " in line for line in lines) for part in debian._PARTS.values()}

  assert counts == {
    "noun": 82_115,
    "verb": 13_767,
    "adjective": 18_156,
    "adverb": 3_621,
  }  # wnstats(7WN)
  assert (
    'sigh, suspire (verb): heave or utter a sigh; breathe deeply and heavily; "She sighed sadly"'
    in lines
  )


def test_dictionaries_are_whole(whole):
  for task, entry in (
    ("foldoc", "best first search\n\n   <algorithm> A {graph} search {algorithm} which optimises"),
    (
      "gcide",
      'Lapling \\Lap"ling\\, n. [Lap of a garment + ling.]\n   One who has been fondled to excess;',
    ),
  ):
    everything = "\n".join(installed(whole, task))
    assert entry in everything
    assert "00-database" not in everything
    assert not re.search(r"^\s*\[1913 Webster\]", everything, re.MULTILINE)

  assert "The stock market\u2019s drop" in everything  # a byte of Windows-1252
  assert sum(len(document.split()) for document in whole["gcide"]) > 4_500_000


def test_fortunes_are_whole(whole):
  everything = "".join(installed(whole, "fortunes"))
  assert "Are you a turtle?" in everything and "\n%\n" not in everything


def number(value: int) -> str:
  digits = {digit: character for character, digit in debian._DIGITS.items()}
  return (digits[value // 64] if value >= 64 else "") + digits[value % 64]


def write_dictionary(folder: pathlib.Path, entries: dict[str, bytes]) -> None:
  """Writes dictd's two files: the index by headword, the text in the order of the entries."""
  text_, lines = b"", []

  for headwords, entry in entries.items():
    lines += [
      f"{word}\t{number(len(text_))}\t{number(len(entry))}\n" for word in headwords.split("|")
    ]
    text_ += entry

  (folder / "foldoc.dict.dz").write_bytes(gzip.compress(text_))
  (folder / "foldoc.index").write_text("".join(sorted(lines)))


def test_a_dictionary_of_three_entries(tmp_path, monkeypatch):
  monkeypatch.setattr(debian, "DICTIONARIES", tmp_path)
  monkeypatch.setattr(debian, "GROUP_CHARACTERS", 30)
  entries = {
    "00-database-info": b"about it\n",
    "zebra|a zebra": "zebra\n\n   An animal, 木.\n".encode(),
    "cafe": b"caf\xe9\n\n  One\x92s drink.\n",
    "ant": b"ant\n\n   Another animal.\n",
  }
  write_dictionary(tmp_path, entries)

  assert list(debian.foldoc()) == [
    "zebra\n\n   An animal, 木.\n\ncafé\n\n  One’s drink.\n",
    "ant\n\n   Another animal.\n",
  ]

  whole_file = (tmp_path / "foldoc.dict.dz").read_bytes()
  (tmp_path / "foldoc.dict.dz").write_bytes(whole_file[:-12])

  with pytest.raises(GatoError, match="foldoc.dict.dz: cannot be read .*; is it whole"):
    list(debian.foldoc())

  (tmp_path / "foldoc.dict.dz").write_bytes(whole_file)
  index = (tmp_path / "foldoc.index").read_text()
  (tmp_path / "foldoc.index").write_text(index[: index.index("cafe")])

  with pytest.raises(
    GatoError, match="foldoc.index: damaged: no entry has .* bytes of foldoc.dict.dz"
  ):
    list(debian.foldoc())

  (tmp_path / "foldoc.index").write_text(index)
  (tmp_path / "foldoc.dict.dz").write_bytes(gzip.compress(b"too short"))

  with pytest.raises(GatoError, match="ends before the entry"):
    list(debian.foldoc())

  (tmp_path / "foldoc.index").write_text("ant\tA\n")

  with pytest.raises(GatoError, match="foldoc.index:1: not headword, offset, length"):
    list(debian.foldoc())


def test_wordnet_and_fortunes_of_some_lines(tmp_path, monkeypatch):
  monkeypatch.setattr(debian, "WORDNET", tmp_path)
  monkeypatch.setattr(debian, "FORTUNES", tmp_path)
  for suffix in ("noun", "verb", "adv"):
    for kind in ("data", "index"):
      (tmp_path / f"{kind}.{suffix}").write_text("  1 This software is provided\n")

  index = "asleep a 1 1 & 1 0 00531628\n"
  (tmp_path / "index.adj").write_text(index)
  line = '00531628 00 s 02 shy_of 0 asleep(p) 0 001 & 00531342 a 0000 | short of; "they are | asleep"  \n'
  (tmp_path / "data.adj").write_text("  1 This software is provided\n" + line)

  assert list(debian.wordnet()) == ['shy of, asleep (adjective): short of; "they are | asleep"\n']

  (tmp_path / "index.adj").write_text(index + "awake a 1 1 & 1 0 00531999\n")

  with pytest.raises(
    GatoError, match="data.adj: damaged: it lacks 1 meanings that index.adj names"
  ):
    list(debian.wordnet())

  (tmp_path / "data.adj").write_text("something else\n")

  with pytest.raises(GatoError, match="data.adj:1: not a line of WordNet 3: 'something else"):
    list(debian.wordnet())

  for name in ("fortunes", "literature", "riddles"):
    (tmp_path / name).write_text(f"100 % of {name}.\n%\n\tTwo.\n\t\t-- A. N. Other\n%\n")

  assert next(debian.fortunes()) == "100 % of fortunes.\n\nTwo.\n\t\t-- A. N. Other\n"


def lzw(text_: str) -> bytes:
  """Compresses a short text as compress(1) does where nothing repeats.

  Each character takes nine bits.
  """
  bits = "".join(f"{ord(character):09b}"[::-1] for character in text_)
  return bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))


def test_a_bible_of_three_verses(tmp_path, monkeypatch):
  windows = ["Holy Bible\nGe1:1 In the be", "ginning.\nGe1:2 And.\nExo1:1 Now.\n"]
  packed = [lzw(window) for window in windows]
  first = debian._BIBLE_HEADER + 8 + 4 * 3 + 3
  starts = [first, first + len(packed[0]), first + sum(map(len, packed))]
  head = (
    debian._BIBLE_MAGIC.ljust(debian._BIBLE_HEADER, b"\0")
    + struct.pack(">5I", 65536, 2, *starts)
    + debian._LZW
  )
  monkeypatch.setattr(debian, "BIBLE", tmp_path / "bible.data")
  (tmp_path / "bible.data").write_bytes(head + b"".join(packed))

  assert list(debian.bible()) == [
    "Genesis 1\n\n1 In the beginning.\n2 And.\n",
    "Exodus 1\n\n1 Now.\n",
  ]

  (tmp_path / "bible.data").write_bytes(head + b"\xff" * sum(map(len, packed)))

  with pytest.raises(GatoError, match=f"bible.data: damaged at byte {first}"):
    list(debian.bible())

  (tmp_path / "bible.data").write_bytes((head + b"".join(packed))[:-5])

  with pytest.raises(GatoError, match="bible.data: damaged: it has .* bytes and says that it has"):
    list(debian.bible())

  (tmp_path / "bible.data").write_bytes(head[: debian._BIBLE_HEADER + 6])

  with pytest.raises(GatoError, match="bible.data: damaged: unpack"):
    list(debian.bible())

  (tmp_path / "bible.data").write_bytes(b"PK" + bytes(100))

  with pytest.raises(GatoError, match="not a file of bible-kjv-text"):
    list(debian.bible())


@pytest.mark.parametrize("task", INSTALLED)
def test_a_package_that_is_not_installed_is_one_line(tmp_path, monkeypatch, task):
  for name in ("BIBLE", "WORDNET", "DICTIONARIES", "FORTUNES"):
    monkeypatch.setattr(debian, name, tmp_path / "nowhere")
  with pytest.raises(
    MissingData, match=f"text.{task}: .* is not there; run apt-get install {PACKAGES[task]}$"
  ):
    next(documents.read(task, "train"))


@pytest.mark.parametrize("task", documents.CATALOGUE)
def test_texts_of_the_catalogue(monkeypatch, task):
  monkeypatch.setenv(documents.COUNT, "120")
  with tfds.testing.mock_data(num_examples=150):
    train, validation = (list(documents.read(task, split)) for split in SPLITS)

  assert all(isinstance(document, str) for document in train)

  if task == "wikipedia":  # it has no validation split
    assert len(train) + len(validation) == 120 and 0 < len(validation) < 20
  else:
    assert len(train) == len(validation) == 120

  monkeypatch.setenv(documents.COUNT, "many")

  with (
    pytest.raises(GatoError, match="GATO_TEXT_DOCUMENTS='many' is not a number"),
    tfds.testing.mock_data(),
  ):
    next(documents.read(task, "train"))


@pytest.mark.parametrize("task", documents.CATALOGUE)
def test_texts_of_the_catalogue_that_are_not_here(tmp_path, monkeypatch, task):
  monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
  with pytest.raises(
    MissingData, match=f"{documents.CATALOGUE[task][0]} is not in .*TFDS_DATA_DIR"
  ):
    next(documents.read(task, "train"))
