"""Base classes of every domain's TFDS builder: RLDS episodes from raw logs, and documents.

Datasets are TFRecord files, TFDS' default, with one config per task. `tfds build` in a domain's
folder works as its users know it; the raw logs are found through GATO_RAW_DIR (by default data/raw
below the working directory). With Beam's options it runs on Apache Beam (docs/beam.md).
"""

import contextlib
import dataclasses
import functools
import importlib
import io
import os
import pathlib
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from gato_jax import documents, progress
from gato_jax.data import freshness
from gato_jax.domain import (
  DocumentDomain,
  Domain,
  RecordedDomain,
  SimulatedDomain,
  document_task_spec,
)
from gato_jax.env import logs, results
from gato_jax.errors import GatoError, MissingData
from gato_jax.storage import lock, origin
from gato_jax.task import TaskSpec
from rlds_builders.base import logged_episodes, recorded_episodes, records, sources

VERSION = "1.0.0"

# Of the records. TFDS reads the first as a tf.data.Dataset, the second by index.
FILE_FORMATS = ("tfrecord", "array_record")

_BEAM_WORKERS_ERROR = re.compile(r"GatoError: (.+) \[while running ")


def raw_directory() -> pathlib.Path:
  """Returns the directory of all tasks' raw logs."""
  return pathlib.Path(os.environ.get("GATO_RAW_DIR", "data/raw"))


def image_side() -> int:
  """Returns the pixels of the longer side of images in documents."""
  return int(os.environ.get("GATO_IMAGE_SIDE", documents.ImageConfig.side))


def configs(domain: Domain) -> list[tfds.core.BuilderConfig]:
  """Returns one builder config per task of a domain."""
  return [tfds.core.BuilderConfig(name=task, version=VERSION) for task in domain.tasks]


def build(
  domain: Domain,
  task: str,
  raw: pathlib.Path,
  tfds_dir: pathlib.Path,
  side: int = documents.ImageConfig.side,
  file_format: str | None = None,
  copy_recorded: bool = True,
) -> bool:
  """Builds a task's dataset, unless it already matches its sources.

  What changed is reported on stderr. A dataset that lacks new episodes is replaced; one of another
  origin is moved aside. One without raw logs came from elsewhere and is kept.

  Args:
    domain: Domain of the task.
    task: Short name of the task.
    raw: Directory of all raw logs.
    tfds_dir: Directory of all datasets.
    side: Pixels of the longer side of images in documents.
    file_format: One of FILE_FORMATS; by default the first, and datasets of another are kept.
    copy_recorded: False to write the description of recorded episodes alone, which are then
      prepared from where they lie.

  Returns:
    True when there was anything to build.

  Raises:
    MissingData: There is nothing to build it from.
    GatoError: The raw logs do not match the current domain, or another build writes the dataset.
  """
  # The builder also runs under `tfds build`, so it reads its directories from the environment.
  os.environ["GATO_RAW_DIR"] = str(raw)
  os.environ["GATO_IMAGE_SIDE"] = str(side)
  tfds.disable_progress_bar()

  module = importlib.import_module(f"rlds_builders.{domain.name}.{domain.name}_dataset_builder")
  directory = pathlib.Path(tfds_dir) / domain.name / task / VERSION

  info_file = directory / "dataset_info.json"
  is_there = info_file.exists()
  origin_now = _origin_now(domain, task)
  changes = ""
  if is_there:
    # Without raw logs it came from elsewhere, and there is nothing to build it from.
    if isinstance(domain, SimulatedDomain) and "logs" not in origin_now:
      return False

    changes = freshness.stale(directory / "metadata.json", origin_now)
    changes = changes or _missing_splits(domain, directory)
    if not changes and copy_recorded:
      changes = _other_format(directory, file_format)
    if not changes:
      return False

  log_changes = freshness.stale_logs(domain, task, raw)
  if log_changes:
    raise GatoError(
      f"{domain.name}.{task}: {log_changes} since its raw logs were collected; "
      "run python -m experiments.collect"
    )

  def declare() -> tfds.core.GeneratorBasedBuilder:
    # TFDS prints, which would tear the caller's progress bar.
    with contextlib.redirect_stdout(io.StringIO()):
      return module.Builder(
        config=task, data_dir=tfds_dir, file_format=file_format or FILE_FORMATS[0]
      )

  # Without sources this raises, before the lock has created a directory. A dataset that is there
  # would be read instead of declared anew, so that comes after it has been moved away.
  new = None if directory.exists() else declare()

  def write() -> None:
    builder = declare() if new is None else new
    with contextlib.redirect_stdout(io.StringIO()):
      if isinstance(domain, RecordedDomain) and not copy_recorded:
        directory.mkdir(parents=True)
        builder.info.write_to_directory(directory)
      else:
        builder.download_and_prepare()

  with lock.only_writer(directory.parent, "build"):
    if not is_there and info_file.exists():
      return False  # Another build has written it in the meantime.

    _replace(directory, write)
    if is_there:
      why = f"{domain.name}.{task}: {changes}"
      _dispose_of(directory.with_suffix(".before"), directory, origin_now=origin_now, why=why)
  return True


def _replace(directory: pathlib.Path, write: Callable[[], None]) -> None:
  """Writes a dataset anew; the one that is there remains beside it, with the suffix .before."""
  before = directory.with_suffix(".before")
  shutil.rmtree(before, ignore_errors=True)
  if directory.exists():
    directory.rename(before)

  try:
    write()
  except BaseException:
    # The old dataset may be of sources that are gone, so it is restored.
    if before.exists():
      shutil.rmtree(directory, ignore_errors=True)
      before.rename(directory)
    raise


def _origin_now(domain: Domain, task: str) -> dict[str, Any]:
  directory = sources.sources_directory()
  return freshness.expected(domain, task, raw_directory(), side=image_side(), sources=directory)


def episode_source(
  domain: Domain, task: str
) -> Callable[[], recorded_episodes.RecordedEpisodes] | None:
  """Returns what opens the episodes of a recorded task; None for others, which have records."""
  if not isinstance(domain, RecordedDomain):
    return None
  return functools.partial(recorded_episodes.RecordedEpisodes, domain, task)


def _other_format(directory: pathlib.Path, file_format: str | None) -> str:
  """Returns a message where a dataset has no records, or others than are asked for, or ""."""
  info = tfds.builder_from_directory(directory).info
  if not info.splits:
    return "it has no records"
  if file_format and info.file_format.value != file_format:
    return f"its records are {info.file_format.value}, not {file_format}"
  return ""


def _missing_splits(domain: Domain, directory: pathlib.Path) -> str:
  """Returns a message where a dataset of documents, built by an older version, lacks a split."""
  if not isinstance(domain, DocumentDomain):
    return ""
  if set(tfds.builder_from_directory(directory).info.splits) == set(documents.SPLITS):
    return ""
  return f"it has not all splits {documents.SPLITS}"


def _dispose_of(
  before: pathlib.Path, directory: pathlib.Path, origin_now: origin.Origin, why: str
) -> None:
  """Deletes the previous dataset where it only had fewer episodes; otherwise moves it aside."""
  others = {part: value for part, value in origin_now.items() if part != "logs"}
  if not origin.difference(origin.of_dataset(before / "metadata.json"), others):
    shutil.rmtree(before)
    progress.Bar.write(f"{why}; built again", file=sys.stderr)
    return

  aside = logs.move_aside(before, directory.name)
  progress.Bar.write(f"{why}; built again, the old dataset is in {aside}", file=sys.stderr)


# mypy does not see TFDS' `__init_subclass__`, which takes skip_registration.
class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
  """Base of episodes and documents."""

  DOMAIN: ClassVar[Domain]
  VERSION = tfds.core.Version(VERSION)

  @property
  def task(self) -> str:
    """The short name of the task."""
    return self.builder_config.name

  @property
  def agent_id(self) -> str:
    """The expert's identifier; "" for documents, in which nobody acts."""
    return getattr(self.DOMAIN, "agent_id", "")

  def _info_metadata(self, spec: TaskSpec, **more: Any) -> tfds.core.MetadataDict:
    """Returns the metadata that a dataset keeps beside its records."""
    content = {
      "spec": spec.to_json(),
      "agent_id": self.agent_id,
      "origin": _origin_now(self.DOMAIN, self.task),
    }
    return tfds.core.MetadataDict({**content, **more})


class EpisodesBase(_Builder, skip_registration=True):  # type: ignore[call-arg]
  """Base of logged and recorded episodes."""

  def _episodes_info(
    self, spec: TaskSpec, description: str, with_expert_action: bool = False, **metadata: Any
  ) -> tfds.core.DatasetInfo:
    """Declares RLDS episodes of a task, with the spec and the origin beside them.

    Args:
      spec: Spec of the task.
      description: What the episodes are, for the dataset's page.
      with_expert_action: True when steps say what the expert would have done, beside the action
        that was executed.
      **metadata: Further entries of the dataset's metadata.
    """
    return self.dataset_info_from_configs(
      features=records.episode_features(spec, with_expert_action),
      description=f"{spec.name}: {description}",
      metadata=self._info_metadata(spec, **metadata),
      disable_shuffling=True,
    )


class EpisodeBuilder(EpisodesBase, skip_registration=True):  # type: ignore[call-arg]
  """Builds the RLDS episodes of one task from its raw logs.

  Subclasses give DOMAIN and BUILDER_CONFIGS.
  """

  DOMAIN: ClassVar[SimulatedDomain]

  @property
  def _directory(self) -> pathlib.Path:
    return logs.task_directory(raw_directory(), self.DOMAIN.name, self.task)

  def _info(self) -> tfds.core.DatasetInfo:
    # No episode depends on the text limits, so those that are declared now hold for old logs too.
    text_tokens = self.DOMAIN.text_tokens(self.task)
    spec = dataclasses.replace(logs.read_spec(self._directory), max_text_tokens=text_tokens)
    return self._episodes_info(spec, "expert episodes in RLDS.", with_expert_action=True)

  def _download_and_prepare(self, dl_manager: Any, download_config: Any) -> None:
    self._on_beam = bool(download_config.beam_runner or download_config.beam_options)
    try:
      super()._download_and_prepare(dl_manager, download_config)
    except (GatoError, RuntimeError) as e:
      # A Beam worker's error comes with pages of its processes' tracebacks.
      message = "".join(traceback.format_exception_only(e))
      workers_error = _BEAM_WORKERS_ERROR.search(message)
      if not workers_error:
        raise
      raise GatoError(workers_error[1]) from None

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    del dl_manager
    shards = logs.shards(self._directory)
    if not shards:
      raise MissingData(
        f"no complete shards in {self._directory}; run python -m experiments.collect"
      )

    # Each shard gets the index of its first episode, so that shards are read in any order.
    lengths = [sum(1 for _ in results.read(shard / "rows.jsonl")) for shard in shards]
    starts = np.cumsum([0, *lengths[:-1]]).tolist()
    paths = [str(shard.absolute()) for shard in shards]
    return {"train": self._generate_examples(list(zip(starts, paths, strict=True)))}

  def _generate_examples(self, shards: Sequence[tuple[int, str]]) -> Any:
    """Generates the episodes of (first index, path) of shards.

    Returns:
      An iterator, or Beam's transform where Beam was requested.
    """
    agent_id = self.agent_id
    if not self._on_beam:
      return (numbered for shard in shards for numbered in logged_episodes.read(shard, agent_id))

    beam = tfds.core.lazy_imports.apache_beam
    return beam.Create(shards) | beam.Reshuffle() | beam.FlatMap(logged_episodes.read, agent_id)


class DocumentBuilder(_Builder, skip_registration=True):  # type: ignore[call-arg]
  """Builds the documents of one task (gato_jax/documents.py), in a train and a validation split.

  Subclasses give DOMAIN and BUILDER_CONFIGS.
  """

  DOMAIN: ClassVar[DocumentDomain]

  def _info(self) -> tfds.core.DatasetInfo:
    spec = document_task_spec(self.DOMAIN, self.task, image_side())
    return self.dataset_info_from_configs(
      features=records.document_features(spec.document_kind),
      description=f"{spec.name}: documents.",
      metadata=self._info_metadata(spec),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    del dl_manager
    return {split: self._generate_examples(split) for split in documents.SPLITS}

  def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
    name = f"{self.DOMAIN.name}.{self.task}"
    iterator = self.DOMAIN.read_documents(self.task, split, image_side())
    bar = progress.Bar(iterator, desc=f"{name}, {split}", unit="document", leave=False, delay=2)

    index = -1
    for index, document in enumerate(bar):
      yield index, records.document_record(document)
    if index < 0:
      raise GatoError(f"{name}: there is no document of the {split} split")
