"""Examples of TFDS' catalogue, read where TFDS keeps them: every file to its end, or an error that names it.

Nothing is downloaded.
"""

import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds
from array_record.python import array_record_data_source

from gato_jax import files, specs
from gato_jax.errors import GatoError, MissingData

_PREFIX = "tfds:"
_NOT_THERE = (AssertionError, FileNotFoundError, ValueError)  # as TFDS says that there are no files or no such split
_HINT = "get it there as its page in TFDS' catalogue says (`tfds build`, or gsutil cp from gs://gresearch/robotics)"


def load(source: specs.Source) -> tfds.core.DatasetBuilder:
  """The catalogue's builder, of the files that are there or, for its features, of TFDS' code.

  Raises:
    GatoError: the name is not of the catalogue, or only the network knows the dataset.
  """
  if not source.dataset.startswith(_PREFIX):
    raise GatoError(f"source {source.dataset!r} must begin with {_PREFIX!r}, e.g. 'tfds:rlu_control_suite/walker_walk'")
  name = source.dataset.removeprefix(_PREFIX)
  try:
    return tfds.core.read_only_builder.builder_from_files(name)
  except tfds.core.registered.DatasetNotFoundError:
    pass  # code knows the features too, where it does not ask the network for them
  except Exception as e:  # json and protobuf raise unrelated types for damaged files
    raise GatoError(f"{source.dataset}: dataset_info.json or features.json is damaged ({reason(e)})") from e
  try:
    return tfds.builder(name)
  except (tfds.core.registered.DatasetNotFoundError, RuntimeError, ValueError, OSError) as e:
    raise _missing(source.dataset) from e


def _missing(dataset: str, hint: str = _HINT) -> MissingData:
  return MissingData(f"{dataset} is not in {tfds.core.constants.DATA_DIR} (TFDS_DATA_DIR); {hint}")


def examples(
  dataset: str, split: str, fields: Mapping[str, Any] | None = None, undecoded: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
  """Examples of "tfds:NAME" in NumPy, in their order.

  fields: those that are read, name -> True, or the set of names inside it; without them all are. undecoded: pictures
  among them that are handed on as the files they were.

  Raises:
    MissingData: the dataset, or its split, is not there. GatoError: the name is not one of the catalogue's.
  """
  decoders = {field: tfds.decode.SkipDecoding() for field in undecoded}
  try:
    return iter(Examples(dataset, load(specs.Source(dataset)), split, decoders, fields))
  except MissingData as e:
    command = f"tfds build {dataset.removeprefix(_PREFIX)}"
    raise _missing(dataset, f"`{command}` gets it there, or its page in TFDS' catalogue says how") from e


class Examples:
  """Examples of a split in NumPy, whatever the format of its files.

  Args:
    dataset: its name, for messages.
    builder: of the dataset.
    split: e.g. "train".
    decoders: TFDS' decoders of fields that are not decoded as usual.
    fields: those that are read; all where it is None, and where the files are read by index.

  Raises:
    MissingData: the dataset is not there.
    GatoError: there is no such split, or a file of it is not whole, here or when the examples are read.
  """

  def __init__(
    self,
    dataset: str,
    builder: tfds.core.DatasetBuilder,
    split: str,
    decoders: Mapping[str, Any] | None = None,
    fields: Mapping[str, Any] | None = None,
  ):
    self._dataset, self._builder, self._split = dataset, builder, split
    for instruction in self._files():
      files.check_content(pathlib.Path(instruction.filename))

    if fields is not None and not self._by_index:
      decoders = tfds.decode.PartialDecoding(fields, decoders=decoders)
    try:
      if self._by_index:
        self._examples = builder.as_data_source(split, decoders=decoders or None)
      else:
        self._examples = builder.as_dataset(split=split, decoders=decoders or None, shuffle_files=False)
    except _NOT_THERE as e:
      raise _missing(dataset) from e

  @property
  def _by_index(self) -> bool:
    return self._builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD

  def _files(self) -> list[Any]:
    """TFDS' instructions of the split's files; none where the dataset is not there."""
    splits = self._builder.info.splits
    if not splits:
      return []
    try:
      return splits[self._split].file_instructions
    except (KeyError, ValueError) as e:
      raise GatoError(f"{self._dataset} has no split {self._split!r}; it has {', '.join(splits)}") from e

  def __iter__(self) -> Iterator[dict[str, Any]]:
    if self._by_index:
      examples = (self._examples[i] for i in range(len(self._examples)))
    else:
      examples = map(tfds.as_numpy, self._examples)
    while True:
      try:
        example = next(examples)
      except StopIteration:
        return
      except Exception as e:  # TensorFlow and array_record raise unrelated types for a damaged file
        raise GatoError(self._damage(e)) from e
      yield example

  def _damage(self, error: Exception) -> str:
    """Names the first file that cannot be read to its end."""
    for instruction in self._files():
      path, count = instruction.filename, 0
      try:
        if self._by_index:
          with array_record_data_source.ArrayRecordDataSource([path]) as source:
            count = sum(1 for i in range(len(source)) if source[i])
        else:
          adapter = tfds.core.file_adapters.ADAPTER_FOR_FORMAT[self._builder.info.file_format]
          count = sum(1 for _ in adapter.make_tf_data(path))
      except Exception as e:  # as above
        return f"{path}: damaged ({reason(e)}); get it again"
      if count != instruction.examples_in_shard:
        return f"{path}: damaged: {count} records, not {instruction.examples_in_shard}; get it again"
    return f"{self._dataset}: cannot be read ({reason(error)})"


def reason(error: Exception) -> str:
  """An error in one line, without what TensorFlow says of its own graph."""
  return " ".join(re.sub(r"\{\{.*?\}\}|\[Op:.*", "", str(error)).split()) or type(error).__name__
