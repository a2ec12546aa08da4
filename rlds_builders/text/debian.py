"""Texts of Debian's packages, read where apt-get puts them: a task is a package, nothing of them is in git."""

import pathlib
import re
import struct
import subprocess
from collections.abc import Iterable, Iterator

from gato_jax.errors import GatoError, MissingData
from rlds_builders import _lines

BIBLE = pathlib.Path("/usr/lib/bible.data")
WORDNET = pathlib.Path("/usr/share/wordnet")
DICTIONARIES = pathlib.Path("/usr/share/dictd")
FORTUNES = pathlib.Path("/usr/share/games/fortunes")
GROUP_CHARACTERS = 1000  # short entries, neighbours in their book, make documents of at least so many

# The text itself has only abbreviations.
_BOOKS = (
  "Genesis Exodus Leviticus Numbers Deuteronomy Joshua Judges Ruth 1_Samuel 2_Samuel 1_Kings 2_Kings 1_Chronicles "
  "2_Chronicles Ezra Nehemiah Esther Job Psalms Proverbs Ecclesiastes Song_of_Solomon Isaiah Jeremiah Lamentations "
  "Ezekiel Daniel Hosea Joel Amos Obadiah Jonah Micah Nahum Habakkuk Zephaniah Haggai Zechariah Malachi Matthew Mark "
  "Luke John Acts Romans 1_Corinthians 2_Corinthians Galatians Ephesians Philippians Colossians 1_Thessalonians "
  "2_Thessalonians 1_Timothy 2_Timothy Titus Philemon Hebrews James 1_Peter 2_Peter 1_John 2_John 3_John Jude "
  "Revelation"
).split()
_VERSE = re.compile(r"(\d?[A-Za-z]+)(\d+):(\d+) (.+)")
_BIBLE_MAGIC = b"EC02Compressed Data File"
_BIBLE_HEADER = 0x54  # where the numbers begin: a window's size, how many there are, where each begins, the file's end
_LZW = b"\x1f\x9d\x90"  # of compress(1), which stands before the first window only
_PARTS = {"noun": "noun", "verb": "verb", "adj": "adjective", "adv": "adverb"}
_HEXADECIMAL = re.compile("[0-9a-f]{2}")
_MARKER = re.compile(r"\((a|p|ip)\)$")  # where an adjective stands, behind a word of WordNet
_UNNAMED_SHARE = 0.001  # of a dictionary's text that no entry of its index has
_DIGITS = {c: i for i, c in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}
_SOURCE = re.compile(r"^[ \t]*\[(?:[^\]\n]*(?:Webster|WordNet|PJC|Century Dict)[^\]\n]*)\].*\n?", re.MULTILINE)


def bible() -> Iterator[str]:
  """The King James Bible, a document each chapter."""
  books: list[str] = []
  chapters: dict[str, list[str]] = {}
  for line in _bible_text().splitlines():
    if match := _VERSE.fullmatch(line):
      book, chapter, verse, text = match.groups()
      if book not in books:
        books.append(book)
      name = _BOOKS[books.index(book)].replace("_", " ")
      chapters.setdefault(f"{name} {chapter}", []).append(f"{verse} {text}")
  for title, verses in chapters.items():
    yield "\n".join([title, "", *verses, ""])


def _bible_text() -> str:
  """gzip reads LZW, of which each window of 64 KiB is a stream of its own."""
  data = _check("bible", BIBLE, "bible-kjv-text").read_bytes()
  if not data.startswith(_BIBLE_MAGIC):
    raise GatoError(f"{BIBLE}: not a file of bible-kjv-text 4; it begins with {data[:24]!r}")
  try:
    _, count, *_ = struct.unpack_from(">2I", data, _BIBLE_HEADER)
    starts = struct.unpack_from(f">{count + 1}I", data, _BIBLE_HEADER + 8)
  except struct.error as e:
    raise GatoError(f"{BIBLE}: damaged: {e}") from e
  if starts[-1] != len(data):  # gzip would take the last window's beginning for all of it
    raise GatoError(f"{BIBLE}: damaged: it has {len(data):,} bytes and says that it has {starts[-1]:,}")

  windows = []
  for start, end in zip(starts, starts[1:], strict=False):
    done = subprocess.run(["gzip", "-dc"], input=_LZW + data[start:end], capture_output=True)
    if done.returncode:
      raise GatoError(f"{BIBLE}: damaged at byte {start}: {done.stderr.decode(errors='replace').strip()}")
    windows.append(done.stdout)
  return b"".join(windows).decode("ascii")


def wordnet() -> Iterator[str]:
  """WordNet's meanings, some neighbours a document: "breathe, respire (verb): draw air into, ...; "I can ..."."""
  for suffix, part in _PARTS.items():
    path = _check("wordnet", WORDNET / f"data.{suffix}", "wordnet-base")
    index = _check("wordnet", WORDNET / f"index.{suffix}", "wordnet-base")
    yield from _grouped(_meanings(path, index, part), "\n")


def _meanings(path: pathlib.Path, index: pathlib.Path, part: str) -> Iterator[str]:
  """Meanings of a file; GatoError where it lacks one that the index names, or a line is none of WordNet's."""
  missing = set()
  for where, line in _lines.lines(index):
    if not line.startswith("  "):  # the licence
      fields = line.split()
      if len(fields) < 4 or not fields[2].isdecimal():
        raise GatoError(f"{where}: not a line of WordNet 3: {line[:60]!r}")
      missing.update(fields[-int(fields[2]) :])

  for where, line in _lines.lines(path):
    if line.startswith("  "):
      continue
    data, bar, gloss = line.partition(" | ")
    fields = data.split(" ")
    if not bar or len(fields) < 4 or not _HEXADECIMAL.fullmatch(fields[3]):
      raise GatoError(f"{where}: not a line of WordNet 3: {line[:60]!r}")
    missing.discard(fields[0])
    words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
    names = [_MARKER.sub("", word).replace("_", " ") for word in words]
    yield f"{', '.join(names)} ({part}): {gloss.strip()}"

  if missing:
    raise GatoError(f"{path}: damaged: it lacks {len(missing):,} meanings that {index.name} names")


def gcide() -> Iterator[str]:
  """The Collaborative International Dictionary of English, without the lines that only name an entry's source.

  More than 200,000 lines say "[1913 Webster]": a network would seem to predict much that it need not know.
  """
  entries = (_SOURCE.sub("", entry).strip() for entry in _dictionary("gcide"))
  return _grouped(filter(None, entries), "\n\n")


def foldoc() -> Iterator[str]:
  """The Free On-line Dictionary of Computing."""
  return _grouped(_dictionary("foldoc"), "\n\n")


def _dictionary(name: str) -> Iterator[str]:
  """Entries of a dictd dictionary in the order of its text, each once; what begins with 00-database describes it.

  Each line of NAME.index is a headword, and where its entry begins and how long it is, in base 64. Some entries of
  GCIDE have bytes that are not UTF-8: those entries are Windows-1252.
  """
  index = _check(name, DICTIONARIES / f"{name}.index", f"dict-{name}")
  path = _check(name, DICTIONARIES / f"{name}.dict.dz", f"dict-{name}")
  places, about = set(), set()
  for number, line in enumerate(index.read_text("utf-8", "surrogateescape").split("\n"), 1):
    if line:
      try:
        _, start, length, *_ = line.split("\t")
        (about if line.startswith("00") else places).add((_number(start), _number(length)))
      except (ValueError, KeyError) as e:
        raise GatoError(f"{index}:{number}: not headword, offset, length: {line[:60]!r}") from e

  with _lines.faults_of(path), _lines.binary(path) as file:
    text = file.read()
  _check_entries(path, index, text, places | about)

  for start, length in sorted(places):
    entry = text[start : start + length]
    try:
      yield entry.decode().strip()
    except UnicodeDecodeError:
      yield entry.decode("cp1252").strip()


def _check_entries(path: pathlib.Path, index: pathlib.Path, text: bytes, places: set[tuple[int, int]]) -> None:
  """GatoError unless the entries lie in the text and are all of it, but for a little: GCIDE's index lacks some."""
  unnamed, end = 0, 0
  for start, length in [*sorted(places), (len(text), 0)]:
    if start + length > len(text):
      raise GatoError(f"{path}: ends before the entry at byte {start}; {index} is not its index")
    unnamed += len(text[end:start].strip())
    end = max(end, start + length)

  if unnamed > _UNNAMED_SHARE * len(text):
    raise GatoError(f"{index}: damaged: no entry has {unnamed:,} of the {len(text):,} bytes of {path.name}")


def _number(digits: str) -> int:
  value = 0
  for digit in digits:
    value = 64 * value + _DIGITS[digit]
  return value


def fortunes() -> Iterator[str]:
  """Sayings, riddles and quotations, some neighbours a document."""
  for name in ("fortunes", "literature", "riddles"):
    text = _check("fortunes", FORTUNES / name, "fortunes-min").read_text("utf-8")
    sayings = (saying.strip() for saying in re.split(r"^%$", text, flags=re.MULTILINE))
    yield from _grouped(filter(None, sayings), "\n\n")


def _check(task: str, path: pathlib.Path, package: str) -> pathlib.Path:
  if not path.exists():
    raise MissingData(f"text.{task}: {path} is not there; run apt-get install {package}")
  return path


def _grouped(entries: Iterable[str], between: str) -> Iterator[str]:
  """Neighbours together until they are GROUP_CHARACTERS long; the last group may be shorter."""
  group: list[str] = []
  for entry in entries:
    group.append(entry)
    if sum(map(len, group)) >= GROUP_CHARACTERS:
      yield between.join(group) + "\n"
      group = []
  if group:
    yield between.join(group) + "\n"


READERS = {
  "bible": bible,
  "wordnet": wordnet,
  "gcide": gcide,
  "foldoc": foldoc,
  "fortunes": fortunes,
}
