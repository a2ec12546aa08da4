"""Reads examples of TFDS' catalogue where TFDS keeps them; nothing is downloaded.

Every file is read to its end, or an error names it.
"""

import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds
from array_record.python import array_record_data_source

from gato_jax.domain import Source
from gato_jax.errors import GatoError, MissingData
from gato_jax.storage import files

_PREFIX = "tfds:"

# TFDS raises any of these where there are no files or there is no such split.
_NOT_THERE = (AssertionError, FileNotFoundError, ValueError)
_HINT = (
  "get it there as its page in TFDS' catalogue says "
  "(`tfds build`, or gsutil cp from gs://gresearch/robotics)"
)


def load(source: Source) -> tfds.core.DatasetBuilder:
  """Returns the catalogue's builder of a dataset.

  It is made from the files that are there or else, to know its features, from TFDS' code.

  Args:
    source: Declaration of a domain; only its dataset counts.

  Raises:
    GatoError: The name is not one of the catalogue's, or only the network knows the dataset.
  """
  if not source.dataset.startswith(_PREFIX):
    raise GatoError(
      f"source {source.dataset!r} must begin with {_PREFIX!r}, "
      "e.g. 'tfds:rlu_control_suite/walker_walk'"
    )

  name = source.dataset.removeprefix(_PREFIX)
  try:
    return tfds.core.read_only_builder.builder_from_files(name)
  except tfds.core.registered.DatasetNotFoundError:
    # TFDS' code knows the features too, for datasets that need no network to tell them.
    pass
  except Exception as e:
    # json and protobuf raise unrelated types for damaged files.
    raise GatoError(
      f"{source.dataset}: dataset_info.json or features.json is damaged ({reason(e)})"
    ) from e

  try:
    return tfds.builder(name)
  except (tfds.core.registered.DatasetNotFoundError, RuntimeError, ValueError, OSError) as e:
    raise _missing(source.dataset) from e


def _missing(dataset: str, hint: str = _HINT) -> MissingData:
  return MissingData(f"{dataset} is not in {tfds.core.constants.DATA_DIR} (TFDS_DATA_DIR); {hint}")


def examples(
  dataset: str,
  split: str,
  fields: Mapping[str, Any] | None = None,
  undecoded: Sequence[str] = (),
) -> Iterator[dict[str, Any]]:
  """Iterates over examples of a dataset in NumPy, in their order.

  Args:
    dataset: "tfds:NAME".
    split: TFDS' name of a split.
    fields: Fields that are read: name -> True, or the set of names inside it. None reads all.
    undecoded: Image fields whose encoded bytes are returned as they are.

  Raises:
    MissingData: The dataset, or its split, is not there.
    GatoError: The name is not one of the catalogue's.
  """
  decoders = {field: tfds.decode.SkipDecoding() for field in undecoded}
  try:
    builder = load(Source(dataset))
    return iter(Examples(dataset, builder, split=split, decoders=decoders, fields=fields))
  except MissingData as e:
    command = f"tfds build {dataset.removeprefix(_PREFIX)}"
    hint = f"`{command}` gets it there, or its page in TFDS' catalogue says how"
    raise _missing(dataset, hint) from e


class Examples:
  """Iterable over the examples of a split in NumPy, whatever the format of its files.

  Args:
    dataset: Name of the dataset, for messages.
    builder: TFDS builder of the dataset.
    split: TFDS' name of a split, e.g. "train".
    decoders: TFDS decoders of fields that are not decoded as usual.
    fields: Fields that are read; None reads all. Ignored where the files are read by index.

  Raises:
    MissingData: The dataset is not there.
    GatoError: There is no such split, or a file of it is incomplete, which is noticed here or
      when the examples are read.
  """

  def __init__(
    self,
    dataset: str,
    builder: tfds.core.DatasetBuilder,
    split: str,
    decoders: Mapping[str, Any] | None = None,
    fields: Mapping[str, Any] | None = None,
  ):
    self._dataset = dataset
    self._builder = builder
    self._split = split
    for instruction in self._files():
      files.check_content(pathlib.Path(instruction.filename))

    if fields is not None and not self._by_index:
      decoders = tfds.decode.PartialDecoding(fields, decoders=decoders)
    decoders = decoders or None

    try:
      if self._by_index:
        self._examples = builder.as_data_source(split, decoders=decoders)
      else:
        self._examples = builder.as_dataset(split=split, decoders=decoders, shuffle_files=False)
    except _NOT_THERE as e:
      raise _missing(dataset) from e

  @property
  def _by_index(self) -> bool:
    return self._builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD

  def _files(self) -> list[Any]:
    """Returns TFDS' instructions of the split's files, none where the dataset is not there."""
    splits = self._builder.info.splits
    if not splits:
      return []

    try:
      return splits[self._split].file_instructions
    except (KeyError, ValueError) as e:
      raise GatoError(
        f"{self._dataset} has no split {self._split!r}; it has {', '.join(splits)}"
      ) from e

  def __iter__(self) -> Iterator[dict[str, Any]]:
    iterator: Iterator[dict[str, Any]]
    if self._by_index:
      iterator = (self._examples[i] for i in range(len(self._examples)))
    else:
      iterator = map(tfds.as_numpy, self._examples)

    while True:
      # Only errors of the reader are caught, none of those who consume the examples.
      try:
        example = next(iterator)
      except StopIteration:
        return
      except Exception as e:
        # TensorFlow and array_record raise unrelated types for a damaged file.
        raise GatoError(self._damage(e)) from e
      yield example

  def _damage(self, error: Exception) -> str:
    """Names the first file that cannot be read to its end."""
    for instruction in self._files():
      path = instruction.filename
      try:
        count = self._count_records(path)
      except Exception as e:
        # The same unrelated types as above.
        return f"{path}: damaged ({reason(e)}); get it again"

      expected = instruction.examples_in_shard
      if count != expected:
        return f"{path}: damaged: {count} records, not {expected}; get it again"

    return f"{self._dataset}: cannot be read ({reason(error)})"

  def _count_records(self, path: str) -> int:
    """Reads every record of a file; array_record's are fetched one by one."""
    if self._by_index:
      with array_record_data_source.ArrayRecordDataSource([path]) as source:
        return sum(1 for i in range(len(source)) if source[i])

    adapter = tfds.core.file_adapters.ADAPTER_FOR_FORMAT[self._builder.info.file_format]
    return sum(1 for _ in adapter.make_tf_data(path))


def reason(error: Exception) -> str:
  """Returns an error's message in one line, without TensorFlow's names of graph nodes."""
  message = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", str(error))
  return " ".join(message.split()) or type(error).__name__
