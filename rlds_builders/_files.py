"""What users have of a document domain (rlds_builders/_sources.py says where) as documents.

Nothing is read as a whole, but for the questions and answers of VQA; pictures are opened one by one.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any

from webdataset import tariterators

from gato_jax.documents import Captioned, Page
from gato_jax.errors import GatoError
from rlds_builders import _gate, _lines, _pictures, _tars
from rlds_builders._sources import Found, find
from rlds_builders._vqa import questions as questions

DOCUMENT_CHARACTERS = 1_000_000  # a longer .txt becomes several documents
_PICTURE_KEYS = ("jpg", "jpeg", "png", "webp")


def _compressed(*endings: str) -> tuple[str, ...]:
  return tuple(ending + packed for ending in endings for packed in _lines.COMPRESSED)


def _ending(path: pathlib.Path) -> str:
  """In lower case and without what only says how it is compressed."""
  name = path.name.lower()
  if name.endswith(".tgz"):
    return ".tar"
  return [suffix for suffix in path.with_name(name).suffixes if suffix not in _lines.COMPRESSED][-1]


def texts(domain: str, split: str) -> Iterator[str]:
  """Texts of .txt, a document each, and of .jsonl, a document in each line's "text"; also .gz and .zst of both.

  Raises:
    MissingData: there are none. GatoError: a damaged file, or too many lines (file:number) without a text.
  """
  endings = _compressed(".txt", ".jsonl")
  found = find(domain, split, endings, '.txt or .jsonl (field "text"), or .gz or .zst of these,')
  return _texts(found, _gate.Gate(f"{domain}, {split}", "texts"))


def _texts(found: Found, gate: _gate.Gate) -> Iterator[str]:
  for path in found.files:
    if _ending(path) == ".jsonl":
      keyed = ((text, text) for text in _texts_of_lines(path, gate))
    else:
      keyed = ((f"{found.key(path)}:{number}", text) for number, text in enumerate(_pieces(path)))
    for key, text in keyed:
      if text.strip() and found.takes(key):
        yield text
  gate.finish()


def _texts_of_lines(path: pathlib.Path, gate: _gate.Gate) -> Iterator[str]:
  for where, record in _lines.records(path):
    try:
      text = _text(record, "text", where)
    except GatoError as e:
      gate.refuse(str(e))
      continue
    gate.accept()
    yield text


def _pieces(path: pathlib.Path) -> Iterator[str]:
  """A text, cut between paragraphs or else lines where it is longer than DOCUMENT_CHARACTERS."""
  with _lines.faults_of(path), _lines.opened(path) as file:
    piece = ""
    while more := file.read(DOCUMENT_CHARACTERS - len(piece)):
      piece += more
      if len(piece) == DOCUMENT_CHARACTERS:
        cut = piece.rfind("\n\n") + 2 if "\n\n" in piece else piece.rfind("\n") + 1 or len(piece)
        yield piece[:cut]
        piece = piece[cut:]
    if piece:
      yield piece


def _text(record: dict[str, Any], field: str, where: str) -> str:
  return _checked(record.get(field), f'{where}: field "{field}"')


def _checked(value: Any, where: str) -> str:
  if not isinstance(value, str):
    raise GatoError(f"{where} must be a text, this is {str(value)[:40]!r}")
  try:
    value.encode()
  except UnicodeEncodeError as e:
    raise GatoError(f"{where} holds half a character ({e.reason}); write the file as UTF-8") from e
  return value


def captioned(domain: str, split: str, side: int) -> Iterator[Captioned]:
  """Pictures with captions of .tsv, .jsonl and webdataset's .tar, also .gz and .zst of these, and .tgz.

  A line of a .tsv is a caption, a tab, and the picture's path: Conceptual Captions' order; a first line with the words
  "image" and "caption" gives another. One of a .jsonl has "image", and "caption" or "captions". Paths are relative to
  the file. A sample in a .tar has a jpg, jpeg, png or webp, and a txt or, in a json, "caption" or "captions".

  Raises:
    MissingData: there are none. GatoError: a damaged file, a line (file:number) that is wrong, too many bad pictures.
  """
  endings = (*_compressed(".tsv", ".jsonl", ".tar"), ".tgz")
  holds = ".tsv or .jsonl beside their pictures, or webdataset .tar, or .gz or .zst of these,"
  found = find(domain, split, endings, holds)
  return _captioned(found, _pictures.Gate(f"{domain}, {split}", side))


@dataclasses.dataclass(frozen=True)
class _Sample:
  """picture: a path, or what is in the file; None, and no captions, where a sample of a .tar has none."""

  key: str
  where: str
  picture: pathlib.Path | bytes | None
  captions: tuple[str, ...]


def _captioned(found: Found, gate: _pictures.Gate) -> Iterator[Captioned]:
  readers = {".tsv": _tsv, ".jsonl": _jsonl, ".tar": _tar}
  for path in found.files:
    for sample in readers[_ending(path)](path):
      if not found.takes(f"{found.key(path.parent)}/{sample.key}"):
        continue
      if sample.picture is None or not sample.captions:
        gate.refuse(f"{sample.where}: no {'picture' if sample.picture is None else 'caption'}")
        continue
      picture = gate.fit(sample.picture, sample.where)
      if picture is not None:
        yield Captioned(picture, sample.captions)
  gate.finish()


def _tsv(path: pathlib.Path) -> Iterator[_Sample]:
  caption, image, columns = 0, 1, 2
  for number, (where, line) in enumerate(_lines.lines(path)):
    fields = line.split("\t")
    if number == 0 and {"caption", "image"} <= set(fields):
      caption, image, columns = fields.index("caption"), fields.index("image"), len(fields)
    elif len(fields) != columns:
      raise GatoError(f"{where}: a line is a caption, a tab and a picture's path; this one has {len(fields)} fields")
    else:
      captions = tuple(filter(None, [fields[caption].strip()]))
      yield _in_folder(path, fields[image], captions, where)


def _jsonl(path: pathlib.Path) -> Iterator[_Sample]:
  for where, record in _lines.records(path):
    yield _in_folder(path, _text(record, "image", where), _captions(record, where), where)


def _in_folder(path: pathlib.Path, image: str, captions: tuple[str, ...], where: str) -> _Sample:
  if image.startswith(("http://", "https://")):
    raise GatoError(f"{where}: {image[:60]!r} is an address; fetch the pictures first, e.g. with img2dataset")
  return _Sample(image, f"{where}: {image}", path.parent / image, captions)


def _captions(record: dict[str, Any], where: str) -> tuple[str, ...]:
  """Of "captions", or else "caption"; those that are empty or null are left out."""
  captions = record.get("captions", [record["caption"]] if "caption" in record else [])
  if not isinstance(captions, list):
    raise GatoError(f'{where}: "captions" must be a list of texts')
  stripped = (_checked(caption, f"{where}: a caption").strip() for caption in captions if caption is not None)
  return tuple(caption for caption in stripped if caption)


def _tar(path: pathlib.Path) -> Iterator[_Sample]:
  members = ({"fname": name, "data": data, "__url__": str(path)} for name, data in _tars.members(path))
  try:
    for sample in tariterators.group_by_keys(members):
      yield _of_tar(sample, f"{path}/{sample['__key__']}")
  except ValueError as e:  # two members of one name
    raise GatoError(f"{path}: cannot be read ({e.args[0]})") from e


def _of_tar(sample: dict[str, Any], where: str) -> _Sample:
  picture = next((sample[key] for key in _PICTURE_KEYS if key in sample), None)
  return _Sample(sample["__key__"], where, picture, _captions(_described(sample, where), where))


def _described(sample: dict[str, Any], where: str) -> dict[str, Any]:
  """Of a sample's txt, or else its json."""
  try:
    if "txt" in sample:
      return {"caption": sample["txt"].decode()}
    record = json.loads(sample.get("json", b"{}"))
  except (ValueError, RecursionError) as e:  # UnicodeDecodeError is a ValueError
    raise GatoError(f"{where}: its {'txt is not UTF-8' if 'txt' in sample else 'json is no JSON'} ({e})") from e
  if not isinstance(record, dict):
    raise GatoError(f"{where}: its json must hold an object, this is a {type(record).__name__}")
  return record


def pages(domain: str, split: str, side: int) -> Iterator[Page]:
  """Pages of .jsonl, also .gz and .zst: "segments", a list of {"text": ...} and {"image": path}, in their order.

  Paths are relative to the file. A picture that is refused is left out of its page.

  Raises:
    MissingData: there are none. GatoError: a damaged file, a line (file:number) that is wrong, too many bad pictures.
  """
  found = find(domain, split, _compressed(".jsonl"), '.jsonl (field "segments") beside their pictures')
  return _pages(found, _pictures.Gate(f"{domain}, {split}", side))


def _pages(found: Found, gate: _pictures.Gate) -> Iterator[Page]:
  for path in found.files:
    for where, record in _lines.records(path):
      segments = record.get("segments")
      if not isinstance(segments, list):
        raise GatoError(f'{where}: field "segments" must be a list')
      if not found.takes(json.dumps(segments, sort_keys=True)):
        continue
      parts = []
      for segment in segments:
        match segment:
          case {"text": text}:
            parts.append(_checked(text, f"{where}: a text"))
          case {"image": str(image)}:
            parts.append(gate.fit(path.parent / image, f"{where}: {image}"))
          case _:
            raise GatoError(f'{where}: a segment is {{"text": ...}} or {{"image": path}}, this is {segment!r:.60}')
      parts = tuple(part for part in parts if part is not None and not (isinstance(part, str) and not part))
      if parts:
        yield Page(parts)
  gate.finish()
