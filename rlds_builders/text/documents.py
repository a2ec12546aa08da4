"""Texts of the domain, by task: what Python and Debian's packages carry, TFDS' catalogue, and a user's own files."""

import itertools
import os
from collections.abc import Callable, Iterator

from gato_jax.errors import GatoError
from rlds_builders import _files, _sources, _values
from rlds_builders.text import debian, python_docs

READERS: dict[str, Callable[[], Iterator[str]]] = {"python_docs": python_docs.read, **debian.READERS}

# Task -> name in TFDS' catalogue, the field that is the text, its splits (None: one document in 20 of the train split,
# by hash), and how many documents are read: C4 and Wikipedia in English would fill terabytes in Gato's form.
CATALOGUE = {
  "c4": ("tfds:c4/en", "text", "validation", 100_000),
  "wikipedia": ("tfds:wikipedia/20230601.en", "text", None, 100_000),
  "pg19": ("tfds:pg19", "book_text", "validation", 1_000),
}
COUNT = "GATO_TEXT_DOCUMENTS"  # in the environment: how many to read instead


def read(task: str, split: str, side: int = 0) -> Iterator[str]:
  """Documents of a split, in the same order every time; side: there are no pictures.

  Raises:
    MissingData: what the task is made of is not on this machine; the message says how to get it.
    GatoError: unknown split, damaged files, or a GATO_TEXT_DOCUMENTS that is no number.
  """
  del side
  _sources.check_split(split)
  if task == "files":
    return _files.texts("text", split)
  if task in CATALOGUE:
    return _of_catalogue(task, split)
  return _of_split(READERS[task](), split)


def _of_split(documents: Iterator[str], split: str) -> Iterator[str]:
  """Which split a document is of depends on its own text alone."""
  return (document for document in documents if _sources.is_validation(document) == (split == "validation"))


def _of_catalogue(task: str, split: str) -> Iterator[str]:
  from rlds_builders import _recorded  # imports TensorFlow, which the other tasks do without

  dataset, field, validation, count = CATALOGUE[task]
  by_hash = validation is None
  taken = "train" if by_hash or split == "train" else validation
  examples = _recorded.examples(dataset, taken, {field: True})
  numbered = enumerate(itertools.islice(examples, _count(count)))
  documents = (_values.text(example[field], f"{dataset}, {taken}, document {i}") for i, example in numbered)
  return _of_split(documents, split) if by_hash else documents


def _count(default: int) -> int:
  asked = os.environ.get(COUNT, str(default))
  if not asked.isdecimal() or not int(asked):
    raise GatoError(f"{COUNT}={asked!r} is not a number of documents, e.g. {default}")
  return int(asked)
