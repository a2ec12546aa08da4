"""Texts of the domain, by task: of Python, of Debian's packages, of TFDS' catalogue, of users."""

import itertools
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from gato_jax.errors import GatoError
from rlds_builders.base import conversion, sources
from rlds_builders.files import user_files
from rlds_builders.text import debian, python_docs

READERS: dict[str, Callable[[], Iterator[str]]] = {
  "python_docs": python_docs.read,
  **debian.READERS,
}


class CatalogueText(NamedTuple):
  """A set of TFDS' catalogue.

  Attributes:
    dataset: "tfds:NAME".
    field: Field of an example that is the text.
    validation: Split for validation; None where one document in 20 of the train split is taken,
      by hash.
    count: Documents that are read.
  """

  dataset: str
  field: str
  validation: str | None
  count: int  # type: ignore[assignment]  # Hides tuple.count, which nobody calls.


# C4 and Wikipedia in English would fill terabytes in Gato's form, so only their beginnings are
# read.
CATALOGUE = {
  "c4": CatalogueText("tfds:c4/en", "text", "validation", 100_000),
  "wikipedia": CatalogueText("tfds:wikipedia/20230601.en", "text", None, 100_000),
  "pg19": CatalogueText("tfds:pg19", "book_text", "validation", 1_000),
}

# Environment variable: the number of documents to read instead.
COUNT = "GATO_TEXT_DOCUMENTS"


def read(task: str, split: str, side: int = 0) -> Iterator[str]:
  """Reads the documents of a split, in the same order every time.

  Args:
    task: A task of the domain.
    split: "train" or "validation".
    side: Unused, since there are no images.

  Raises:
    MissingData: This machine lacks what the task is made of; the message says how to get it.
    GatoError: The split is unknown, files are damaged, or GATO_TEXT_DOCUMENTS is no number.
  """
  del side
  sources.check_split(split)
  if task == "files":
    return user_files.texts("text", split)
  if task in CATALOGUE:
    return _of_catalogue(CATALOGUE[task], split)
  return _of_split(READERS[task](), split)


def _of_split(documents: Iterator[str], split: str) -> Iterator[str]:
  """Yields the documents of a split; the hash of its text decides a document's split."""
  wanted = split == "validation"
  return (document for document in documents if sources.is_validation(document) == wanted)


def _of_catalogue(text: CatalogueText, split: str) -> Iterator[str]:
  """Reads the beginning of a set of TFDS' catalogue."""
  # Imports TensorFlow, which the other tasks do without.
  from rlds_builders.base import tfds_source

  tfds_split = "train"
  if split == "validation" and text.validation is not None:
    tfds_split = text.validation
  examples = tfds_source.examples(text.dataset, tfds_split, fields={text.field: True})

  documents = (
    conversion.text(example[text.field], f"{text.dataset}, {tfds_split}, document {i}")
    for i, example in enumerate(itertools.islice(examples, _count(text.count)))
  )
  return documents if text.validation else _of_split(documents, split)


def _count(default: int) -> int:
  """Returns the number of documents to read."""
  value = os.environ.get(COUNT, str(default))
  if not value.isdecimal() or not int(value):
    raise GatoError(f"{COUNT}={value!r} is not a number of documents, e.g. {default}")
  return int(value)
