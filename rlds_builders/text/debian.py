"""Texts of Debian's packages, read where apt-get puts them.

A task is a package; nothing of them is in git.
"""

import pathlib
import re
import struct
import subprocess
from collections.abc import Iterable, Iterator

from gato_jax.errors import GatoError, MissingData
from rlds_builders.files import streams

BIBLE = pathlib.Path("/usr/lib/bible.data")
WORDNET = pathlib.Path("/usr/share/wordnet")
DICTIONARIES = pathlib.Path("/usr/share/dictd")
FORTUNES = pathlib.Path("/usr/share/games/fortunes")

# Short entries, neighbours in their book, make documents of at least this many characters.
GROUP_CHARACTERS = 1000

# Names of the Bible's books in order: its text has only abbreviations.
_BOOKS = (
  "Genesis Exodus Leviticus Numbers Deuteronomy Joshua Judges Ruth 1_Samuel 2_Samuel 1_Kings "
  "2_Kings 1_Chronicles 2_Chronicles Ezra Nehemiah Esther Job Psalms Proverbs Ecclesiastes "
  "Song_of_Solomon Isaiah Jeremiah Lamentations Ezekiel Daniel Hosea Joel Amos Obadiah Jonah "
  "Micah Nahum Habakkuk Zephaniah Haggai Zechariah Malachi Matthew Mark Luke John Acts Romans "
  "1_Corinthians 2_Corinthians Galatians Ephesians Philippians Colossians 1_Thessalonians "
  "2_Thessalonians 1_Timothy 2_Timothy Titus Philemon Hebrews James 1_Peter 2_Peter 1_John "
  "2_John 3_John Jude Revelation"
).split()
_VERSE = re.compile(r"(\d?[A-Za-z]+)(\d+):(\d+) (.+)")
_BIBLE_MAGIC = b"EC02Compressed Data File"

# Offset of the numbers: a window's size, how many windows there are, where each begins, and the
# size of the file.
_BIBLE_HEADER = 0x54

# Header of compress(1), which stands before the first window only.
_LZW = b"\x1f\x9d\x90"

# Ending of WordNet's files -> part of speech.
_PARTS = {"noun": "noun", "verb": "verb", "adj": "adjective", "adv": "adverb"}
_HEXADECIMAL = re.compile("[0-9a-f]{2}")

# Behind a word of WordNet: positions in which an adjective may stand.
_MARKER = re.compile(r"\((a|p|ip)\)$")

# Share of a dictionary's text that may belong to no entry of its index.
_UNNAMED_SHARE = 0.001

# Base 64 of dictd's index files.
_DIGITS = {
  digit: value
  for value, digit in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
}

# A line of GCIDE that only names the source of an entry.
_SOURCE = re.compile(
  r"^[ \t]*\[(?:[^\]\n]*(?:Webster|WordNet|PJC|Century Dict)[^\]\n]*)\].*\n?", re.MULTILINE
)


def bible() -> Iterator[str]:
  """Yields the chapters of the King James Bible."""
  books: list[str] = []
  chapters: dict[str, list[str]] = {}
  for line in _bible_text().splitlines():
    match = _VERSE.fullmatch(line)
    if not match:
      continue

    book, chapter, verse, text = match.groups()
    if book not in books:
      books.append(book)
    name = _BOOKS[books.index(book)].replace("_", " ")
    chapters.setdefault(f"{name} {chapter}", []).append(f"{verse} {text}")

  for title, verses in chapters.items():
    yield "\n".join([title, "", *verses, ""])


def _bible_text() -> str:
  """Decompresses the text, of which each window of 64 KiB is an LZW stream of its own."""
  data = _check("bible", BIBLE, "bible-kjv-text").read_bytes()
  if not data.startswith(_BIBLE_MAGIC):
    raise GatoError(f"{BIBLE}: not a file of bible-kjv-text 4; it begins with {data[:24]!r}")

  # Offsets of all windows; the last number is the size of the file.
  try:
    _, count, *_ = struct.unpack_from(">2I", data, _BIBLE_HEADER)
    starts = struct.unpack_from(f">{count + 1}I", data, _BIBLE_HEADER + 8)
  except struct.error as e:
    raise GatoError(f"{BIBLE}: damaged: {e}") from e
  # gzip would take the beginning of the last window for all of it.
  if starts[-1] != len(data):
    raise GatoError(
      f"{BIBLE}: damaged: it has {len(data):,} bytes and says that it has {starts[-1]:,}"
    )

  # gzip reads LZW, which Python cannot.
  windows = []
  for start, end in zip(starts, starts[1:], strict=False):
    window = _LZW + data[start:end]
    process = subprocess.run(["gzip", "-dc"], input=window, capture_output=True)
    if process.returncode:
      message = process.stderr.decode(errors="replace").strip()
      raise GatoError(f"{BIBLE}: damaged at byte {start}: {message}")
    windows.append(process.stdout)
  return b"".join(windows).decode("ascii")


def wordnet() -> Iterator[str]:
  """Yields WordNet's meanings, several neighbours per document.

  E.g. "breathe, respire (verb): draw air into, ...; "I can ..."".
  """
  for suffix, part in _PARTS.items():
    path = _check("wordnet", WORDNET / f"data.{suffix}", package="wordnet-base")
    index = _check("wordnet", WORDNET / f"index.{suffix}", package="wordnet-base")
    yield from _grouped(_meanings(path, index, part), "\n")


def _meanings(path: pathlib.Path, index: pathlib.Path, part: str) -> Iterator[str]:
  """Yields the meanings of a file.

  Args:
    path: data.noun etc.
    index: index.noun etc.
    part: Part of speech.

  Raises:
    GatoError: The file lacks a meaning that the index names, or a line is not of WordNet's form.
  """
  # Offsets in the file, which are the meanings' identifiers. A line of the index ends with them,
  # and its third field says how many there are. Indented lines are the licence.
  missing = set()
  for where, line in streams.lines(index):
    if line.startswith("  "):
      continue
    fields = line.split()
    if len(fields) < 4 or not fields[2].isdecimal():
      raise GatoError(f"{where}: not a line of WordNet 3: {line[:60]!r}")
    missing.update(fields[-int(fields[2]) :])

  for where, line in streams.lines(path):
    if line.startswith("  "):
      continue
    data, bar, gloss = line.partition(" | ")
    fields = data.split(" ")
    if not bar or len(fields) < 4 or not _HEXADECIMAL.fullmatch(fields[3]):
      raise GatoError(f"{where}: not a line of WordNet 3: {line[:60]!r}")
    missing.discard(fields[0])

    # Field 3 is the number of words; from field 4 on, each is followed by a number.
    word_count = int(fields[3], 16)
    words = fields[4 : 4 + 2 * word_count : 2]
    names = [_MARKER.sub("", word).replace("_", " ") for word in words]
    yield f"{', '.join(names)} ({part}): {gloss.strip()}"

  if missing:
    raise GatoError(f"{path}: damaged: it lacks {len(missing):,} meanings that {index.name} names")


def gcide() -> Iterator[str]:
  """Yields entries of the Collaborative International Dictionary of English.

  The lines that only name an entry's source are left out. More than 200,000 lines say "[1913
  Webster]": a network would seem to predict much that it need not know.
  """
  entries = (_SOURCE.sub("", entry).strip() for entry in _dictionary("gcide"))
  return _grouped(filter(None, entries), "\n\n")


def foldoc() -> Iterator[str]:
  """Yields entries of the Free On-line Dictionary of Computing."""
  return _grouped(_dictionary("foldoc"), "\n\n")


def _dictionary(name: str) -> Iterator[str]:
  """Yields the entries of a dictd dictionary in the order of its text, each once.

  Each line of NAME.index is a headword, the offset of its entry and its length, in base 64. Some
  entries of GCIDE have bytes that are not UTF-8: those entries are Windows-1252.
  """
  index = _check(name, DICTIONARIES / f"{name}.index", package=f"dict-{name}")
  path = _check(name, DICTIONARIES / f"{name}.dict.dz", package=f"dict-{name}")

  # (offset, length); a set, since several headwords may share an entry.
  entries = set()
  # Headwords such as 00-database-info describe the dictionary.
  descriptions = set()
  for number, line in enumerate(index.read_text("utf-8", "surrogateescape").split("\n"), 1):
    if not line:
      continue
    try:
      _, offset, length, *_ = line.split("\t")
      span = (_number(offset), _number(length))
    except (ValueError, KeyError) as e:
      raise GatoError(f"{index}:{number}: not headword, offset, length: {line[:60]!r}") from e

    if line.startswith("00"):
      descriptions.add(span)
    else:
      entries.add(span)

  with streams.faults_of(path), streams.binary(path) as file:
    text = file.read()
  _check_entries(path, index, text=text, entries=entries | descriptions)

  for start, size in sorted(entries):
    entry = text[start : start + size]
    try:
      yield entry.decode().strip()
    except UnicodeDecodeError:
      yield entry.decode("cp1252").strip()


def _check_entries(
  path: pathlib.Path, index: pathlib.Path, text: bytes, entries: set[tuple[int, int]]
) -> None:
  """Checks that the entries lie in the text and cover all of it but a little.

  GCIDE's index lacks some entries.

  Raises:
    GatoError: They do not.
  """
  unnamed = 0
  end = 0
  # An empty entry behind the text counts what stands behind the last one.
  for offset, length in [*sorted(entries), (len(text), 0)]:
    if offset + length > len(text):
      raise GatoError(f"{path}: ends before the entry at byte {offset}; {index} is not its index")
    unnamed += len(text[end:offset].strip())
    end = max(end, offset + length)

  if unnamed > _UNNAMED_SHARE * len(text):
    raise GatoError(
      f"{index}: damaged: no entry has {unnamed:,} of the {len(text):,} bytes of {path.name}"
    )


def _number(digits: str) -> int:
  """Decodes a number in dictd's base 64."""
  value = 0
  for digit in digits:
    value = 64 * value + _DIGITS[digit]
  return value


def fortunes() -> Iterator[str]:
  """Yields sayings, riddles and quotations, several neighbours per document."""
  for name in ("fortunes", "literature", "riddles"):
    text = _check("fortunes", FORTUNES / name, package="fortunes-min").read_text("utf-8")
    # A line with a % separates two sayings.
    sayings = (saying.strip() for saying in re.split(r"^%$", text, flags=re.MULTILINE))
    yield from _grouped(filter(None, sayings), "\n\n")


def _check(task: str, path: pathlib.Path, package: str) -> pathlib.Path:
  """Returns a path that must exist."""
  if not path.exists():
    raise MissingData(f"text.{task}: {path} is not there; run apt-get install {package}")
  return path


def _grouped(entries: Iterable[str], separator: str) -> Iterator[str]:
  """Joins neighbours until they have GROUP_CHARACTERS; the last group may be shorter."""
  group: list[str] = []
  for entry in entries:
    group.append(entry)
    if sum(map(len, group)) >= GROUP_CHARACTERS:
      yield separator.join(group) + "\n"
      group = []

  if group:
    yield separator.join(group) + "\n"


READERS = {
  "bible": bible,
  "wordnet": wordnet,
  "gcide": gcide,
  "foldoc": foldoc,
  "fortunes": fortunes,
}
