"""Reads the files that users have of a document domain (rlds_builders/base/sources.py finds them).

No file is held in memory as a whole, except the questions and answers of VQA. Images are opened
one by one.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from webdataset import tariterators

from gato_jax.documents import CaptionedImage, Page, Part
from gato_jax.errors import GatoError
from rlds_builders.base import skip_counter
from rlds_builders.base.sources import SourceFile, find
from rlds_builders.files import images, streams, tars
from rlds_builders.files.vqa import questions as questions

# A longer .txt becomes several documents.
DOCUMENT_CHARACTERS = 1_000_000
_IMAGE_KEYS = ("jpg", "jpeg", "png", "webp")


def _with_compressed(*endings: str) -> tuple[str, ...]:
  return tuple(ending + packed for ending in endings for packed in streams.COMPRESSED)


def _ending(path: pathlib.Path) -> str:
  """Returns a file's ending in lower case, without the one that says how it is compressed."""
  name = path.name.lower()
  if name.endswith(".tgz"):
    return ".tar"

  suffixes = path.with_name(name).suffixes
  return [suffix for suffix in suffixes if suffix not in streams.COMPRESSED][-1]


def texts(domain: str, split: str) -> Iterator[str]:
  """Reads texts: a .txt is a document, and so is the "text" of each line of a .jsonl.

  Both may be compressed (.gz, .zst).

  Args:
    domain: Name of the domain.
    split: "train" or "validation".

  Raises:
    MissingData: There are none.
    GatoError: A file is damaged, or too many lines (file:number) have no text.
  """
  endings = _with_compressed(".txt", ".jsonl")
  found = find(domain, split, endings, '.txt or .jsonl (field "text"), or .gz or .zst of these,')
  return _texts(found, skip_counter.SkipCounter(f"{domain}, {split}", "texts"))


def _texts(found: SourceFile, counter: skip_counter.SkipCounter) -> Iterator[str]:
  for path in found.files:
    for key, text in _keyed_texts(path, found, counter):
      if text.strip() and found.takes(key):
        yield text

  counter.finish()


def _keyed_texts(
  path: pathlib.Path, found: SourceFile, counter: skip_counter.SkipCounter
) -> Iterator[tuple[str, str]]:
  """Yields the documents of a file with the keys that decide their split."""
  if _ending(path) == ".jsonl":
    # Lines may be added or sorted, so each text is its own key.
    for text in _texts_of_lines(path, counter):
      yield text, text
    return

  for number, text in enumerate(_pieces(path)):
    yield f"{found.key(path)}:{number}", text


def _texts_of_lines(path: pathlib.Path, counter: skip_counter.SkipCounter) -> Iterator[str]:
  """Yields the texts of a .jsonl; lines without one are refused."""
  for where, record in streams.records(path):
    try:
      text = _text(record, "text", where)
    except GatoError as e:
      counter.refuse(str(e))
      continue

    counter.accept()
    yield text


def _pieces(path: pathlib.Path) -> Iterator[str]:
  """Yields a text in pieces of at most DOCUMENT_CHARACTERS.

  It is cut between paragraphs, or else between lines.
  """
  with streams.faults_of(path), streams.opened(path) as file:
    piece = ""
    while more := file.read(DOCUMENT_CHARACTERS - len(piece)):
      piece += more
      if len(piece) < DOCUMENT_CHARACTERS:
        continue

      # The rest behind the cut begins the next piece. A piece without any line end is kept whole.
      if "\n\n" in piece:
        cut = piece.rfind("\n\n") + 2
      else:
        cut = piece.rfind("\n") + 1 or len(piece)
      yield piece[:cut]
      piece = piece[cut:]

    if piece:
      yield piece


def _text(record: dict[str, Any], field: str, where: str) -> str:
  return _checked(record.get(field), f'{where}: field "{field}"')


def _checked(value: Any, where: str) -> str:
  """Returns a value that must be a text which UTF-8 can hold."""
  if not isinstance(value, str):
    raise GatoError(f"{where} must be a text, this is {str(value)[:40]!r}")

  try:
    value.encode()
  except UnicodeEncodeError as e:
    # JSON may escape a single surrogate.
    raise GatoError(f"{where} holds half a character ({e.reason}); write the file as UTF-8") from e
  return value


def captioned(domain: str, split: str, side: int) -> Iterator[CaptionedImage]:
  """Reads captioned images of .tsv, .jsonl and webdataset's .tar.

  All of them may be compressed (.gz, .zst, .tgz).

  * A line of a .tsv is a caption, a tab, and the image's path: Conceptual Captions' order. A first
    line with the words "image" and "caption" gives another one.
  * A line of a .jsonl has "image", a path, and "caption" or "captions".
  * A sample in a .tar has a jpg, jpeg, png or webp, and a txt or, in a json, "caption" or
    "captions".

  Paths are relative to the file.

  Args:
    domain: Name of the domain.
    split: "train" or "validation".
    side: Pixels of the longer side, a multiple of 16.

  Raises:
    MissingData: There are none.
    GatoError: A file is damaged, a line (file:number) is wrong, or too many images are bad.
  """
  endings = (*_with_compressed(".tsv", ".jsonl", ".tar"), ".tgz")
  holds = ".tsv or .jsonl beside their pictures, or webdataset .tar, or .gz or .zst of these,"
  found = find(domain, split, endings, holds)
  return _captioned(found, images.ImageSkipCounter(f"{domain}, {split}", side))


@dataclasses.dataclass(frozen=True)
class _Sample:
  """An image file with its captions.

  Attributes:
    key: Key within its file, which decides its split.
    where: File and line or member, for messages.
    image: Path of the image, or the bytes of its file; None where a sample of a .tar has none.
    captions: Texts that are not empty.
  """

  key: str
  where: str
  image: pathlib.Path | bytes | None
  captions: tuple[str, ...]


def _captioned(found: SourceFile, counter: images.ImageSkipCounter) -> Iterator[CaptionedImage]:
  readers: dict[str, Callable[[pathlib.Path], Iterator[_Sample]]] = {
    ".tsv": _tsv,
    ".jsonl": _jsonl,
    ".tar": _tar,
  }
  for path in found.files:
    for sample in readers[_ending(path)](path):
      if not found.takes(f"{found.key(path.parent)}/{sample.key}"):
        continue

      if sample.image is None or not sample.captions:
        missing = "picture" if sample.image is None else "caption"
        counter.refuse(f"{sample.where}: no {missing}")
        continue

      image = counter.fit(sample.image, sample.where)
      if image is not None:
        yield CaptionedImage(image, sample.captions)

  counter.finish()


def _tsv(path: pathlib.Path) -> Iterator[_Sample]:
  # Column indices of Conceptual Captions, unless a first line names them.
  caption = 0
  image = 1
  column_count = 2

  for number, (where, line) in enumerate(streams.lines(path)):
    fields = line.split("\t")
    if number == 0 and {"caption", "image"} <= set(fields):
      caption = fields.index("caption")
      image = fields.index("image")
      column_count = len(fields)
      continue

    if len(fields) != column_count:
      raise GatoError(
        f"{where}: a line is a caption, a tab and a picture's path; "
        f"this one has {len(fields)} fields"
      )
    captions = tuple(filter(None, [fields[caption].strip()]))
    yield _sample_of_path(path, fields[image], captions=captions, where=where)


def _jsonl(path: pathlib.Path) -> Iterator[_Sample]:
  for where, record in streams.records(path):
    image = _text(record, "image", where)
    yield _sample_of_path(path, image, captions=_captions(record, where), where=where)


def _sample_of_path(
  path: pathlib.Path, image: str, captions: tuple[str, ...], where: str
) -> _Sample:
  """Returns the sample of an image whose path is relative to the file that names it."""
  if image.startswith(("http://", "https://")):
    raise GatoError(
      f"{where}: {image[:60]!r} is an address; fetch the pictures first, e.g. with img2dataset"
    )
  return _Sample(key=image, where=f"{where}: {image}", image=path.parent / image, captions=captions)


def _captions(record: dict[str, Any], where: str) -> tuple[str, ...]:
  """Returns "captions", or else "caption", without those that are empty or null."""
  if "captions" in record:
    values = record["captions"]
  elif "caption" in record:
    values = [record["caption"]]
  else:
    values = []

  if not isinstance(values, list):
    raise GatoError(f'{where}: "captions" must be a list of texts')

  captions = []
  for value in values:
    if value is not None:
      captions.append(_checked(value, f"{where}: a caption").strip())
  return tuple(filter(None, captions))


def _tar(path: pathlib.Path) -> Iterator[_Sample]:
  members = (
    {"fname": name, "data": data, "__url__": str(path)} for name, data in tars.members(path)
  )
  try:
    for sample in tariterators.group_by_keys(members):
      key = sample["__key__"]
      where = f"{path}/{key}"
      image = next((sample[ending] for ending in _IMAGE_KEYS if ending in sample), None)
      captions = _captions(_description(sample, where), where)
      yield _Sample(key=key, where=where, image=image, captions=captions)
  except ValueError as e:
    # Two members of one name.
    raise GatoError(f"{path}: cannot be read ({e.args[0]})") from e


def _description(sample: dict[str, Any], where: str) -> dict[str, Any]:
  """Returns the captions of a sample's txt, or else its json, as a line of a .jsonl has them."""
  try:
    if "txt" in sample:
      return {"caption": sample["txt"].decode()}
    record = json.loads(sample.get("json", b"{}"))
  except (ValueError, RecursionError) as e:
    # A UnicodeDecodeError is a ValueError.
    fault = "txt is not UTF-8" if "txt" in sample else "json is no JSON"
    raise GatoError(f"{where}: its {fault} ({e})") from e

  if not isinstance(record, dict):
    raise GatoError(f"{where}: its json must hold an object, this is a {type(record).__name__}")
  return record


def pages(domain: str, split: str, side: int) -> Iterator[Page]:
  """Reads pages of .jsonl, which may be compressed (.gz, .zst).

  A line has "segments": a list of {"text": ...} and {"image": path}, in their order. Paths are
  relative to the file. An image that is refused is left out of its page.

  Args:
    domain: Name of the domain.
    split: "train" or "validation".
    side: Pixels of the longer side, a multiple of 16.

  Raises:
    MissingData: There are none.
    GatoError: A file is damaged, a line (file:number) is wrong, or too many images are bad.
  """
  holds = '.jsonl (field "segments") beside their pictures'
  found = find(domain, split, _with_compressed(".jsonl"), holds)
  return _pages(found, images.ImageSkipCounter(f"{domain}, {split}", side))


def _pages(found: SourceFile, counter: images.ImageSkipCounter) -> Iterator[Page]:
  for path in found.files:
    for where, record in streams.records(path):
      segments = record.get("segments")
      if not isinstance(segments, list):
        raise GatoError(f'{where}: field "segments" must be a list')
      # Sorted keys, so that the order within an object does not change a page's split.
      if not found.takes(json.dumps(segments, sort_keys=True)):
        continue

      parts: list[Part] = []
      for segment in segments:
        match segment:
          case {"text": value}:
            text = _checked(value, f"{where}: a text")
            if text:
              parts.append(text)

          case {"image": str(name)}:
            image = counter.fit(path.parent / name, f"{where}: {name}")
            if image is not None:
              parts.append(image)

          case _:
            raise GatoError(
              f'{where}: a segment is {{"text": ...}} or {{"image": path}}, this is {segment!r:.60}'
            )

      if parts:
        yield Page(tuple(parts))

  counter.finish()
