"""The base of every domain's TFDS builder: raw logs -> RLDS episodes in array_record, one config per task.

`tfds build` in a domain's folder works as its users know it; the raw logs are found through GATO_RAW_DIR
(default data/raw under the current folder). With Beam's options it runs on Apache Beam (docs/beam.md).
"""

import contextlib
import dataclasses
import importlib
import io
import json
import os
import pathlib
import re
import shutil
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
import tqdm
from dm_env import specs as dm_specs
from PIL import Image

from gato_jax import documents, freshness, logs, origin, results, specs
from gato_jax.errors import GatoError, MissingData
from rlds_builders import _sources

VERSION = "1.0.0"
SUCCESS_UNDEFINED = -1
_BEAM_WORKERS_ERROR = re.compile(r"GatoError: (.+) \[while running ")


def raw_directory() -> pathlib.Path:
  return pathlib.Path(os.environ.get("GATO_RAW_DIR", "data/raw"))


def picture_side() -> int:
  """Pixels of the longer side of pictures in documents."""
  return int(os.environ.get("GATO_PICTURE_SIDE", documents.PictureConfig.side))


def configs(domain: specs.Domain) -> list[tfds.core.BuilderConfig]:
  """One config per task."""
  return [tfds.core.BuilderConfig(name=task, version=VERSION) for task in domain.tasks]


def build(
  domain: specs.Domain,
  task: str,
  raw: pathlib.Path,
  tfds_dir: pathlib.Path,
  side: int = documents.PictureConfig.side,
) -> bool:
  """Builds one task's dataset unless it is what its sources are now; returns whether there was anything to do.

  What changed is said on stderr. A dataset that lacks new episodes is replaced, one of another origin is moved aside.
  One without raw logs came from elsewhere and is kept.

  Raises:
    MissingData: there is nothing to build it from. GatoError: the raw logs are not of what the domain is now.
  """
  os.environ["GATO_RAW_DIR"], os.environ["GATO_PICTURE_SIDE"] = str(raw), str(side)
  tfds.disable_progress_bar()
  module = importlib.import_module(f"rlds_builders.{domain.name}.{domain.name}_dataset_builder")
  directory = pathlib.Path(tfds_dir) / domain.name / task / VERSION

  is_there, changed = (directory / "dataset_info.json").exists(), ""
  now = _origin_now(domain, task)
  if is_there:
    if domain.environment and "logs" not in now:  # it came from elsewhere, and there is nothing to build it from
      return False
    changed = freshness.stale(directory / "metadata.json", now) or _missing_splits(domain, directory)
    if not changed:
      return False
  if why := freshness.stale_logs(domain, task, raw):
    raise GatoError(f"{domain.name}.{task}: {why} since its raw logs were collected; run python -m experiments.collect")

  before = directory.with_suffix(".before")
  shutil.rmtree(before, ignore_errors=True)
  if directory.exists():
    directory.rename(before)
  try:
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints through the caller's progress bar
      module.Builder(config=task, data_dir=tfds_dir).download_and_prepare()
  except BaseException:
    if before.exists():  # what was built from what is not here any more is not lost
      shutil.rmtree(directory, ignore_errors=True)
      before.rename(directory)
    raise

  if is_there:
    _replaced(before, directory, now, f"{domain.name}.{task}: {changed}")
  return True


def _origin_now(domain: specs.Domain, task: str) -> dict[str, Any]:
  return freshness.expected(domain, task, raw_directory(), side=picture_side(), sources=_sources.sources_directory())


def _missing_splits(domain: specs.Domain, directory: pathlib.Path) -> str:
  """Says that a dataset of documents, of an older version, has not all splits; "" where it has."""
  if not domain.documents or set(tfds.builder_from_directory(directory).info.splits) == set(documents.SPLITS):
    return ""
  return f"it has not all splits {documents.SPLITS}"


def _replaced(before: pathlib.Path, directory: pathlib.Path, now: origin.Origin, why: str) -> None:
  """Deletes the dataset that was built anew, where it only had fewer episodes; else it is moved aside."""
  others = {part: value for part, value in now.items() if part != "logs"}
  if not origin.difference(origin.of_dataset(before / "metadata.json"), others):
    shutil.rmtree(before)
    tqdm.tqdm.write(f"{why}; built again", file=sys.stderr)
    return
  aside = logs.move_aside(before, directory.name)
  tqdm.tqdm.write(f"{why}; built again, the old dataset is in {aside}", file=sys.stderr)


def _feature(spec: dm_specs.Array) -> tfds.features.FeatureConnector:
  if isinstance(spec, dm_specs.StringArray):
    return tfds.features.Text()
  if spec.dtype == np.uint8 and len(spec.shape) == 3:
    return tfds.features.Image(shape=spec.shape, encoding_format="png")
  return tfds.features.Tensor(shape=spec.shape, dtype=spec.dtype)


class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """What episodes and documents share."""

  DOMAIN: ClassVar[specs.Domain]
  VERSION = tfds.core.Version(VERSION)

  def __init__(self, *, file_format: str | None = None, **kwargs: Any):
    super().__init__(file_format=file_format or "array_record", **kwargs)  # read by index: batch(i) needs it

  @property
  def task(self) -> str:
    return self.builder_config.name

  def _info_metadata(self, spec: specs.TaskSpec, **more: Any) -> tfds.core.MetadataDict:
    """What a dataset says of itself, beside its records."""
    content = {"spec": spec.to_json(), "agent_id": self.DOMAIN.agent_id, "origin": _origin_now(self.DOMAIN, self.task)}
    return tfds.core.MetadataDict({**content, **more})


class EpisodesBase(_Builder, skip_registration=True):
  """What logged and recorded episodes share."""

  def _episodes_info(
    self, spec: specs.TaskSpec, description: str, with_expert_action: bool = False, **metadata: Any
  ) -> tfds.core.DatasetInfo:
    """RLDS episodes of a task, with the spec and the origin beside them.

    Args:
      with_expert_action: steps say what the expert would have done, beside the action that was executed.
    """
    more = {"expert_action": _feature(spec.action)} if with_expert_action else {}
    steps = {
      "observation": specs.nested({key: _feature(s) for key, s in spec.observation.items()}),
      "action": _feature(spec.action),
      **more,
      "reward": np.float32,
      "discount": np.float32,
      "is_first": np.bool_,
      "is_last": np.bool_,
      "is_terminal": np.bool_,
    }
    episode_metadata = {
      "agent_id": tfds.features.Text(),
      "task": tfds.features.Text(),
      "seed": np.int64,
      "index": np.int64,  # in collection order
      "return": np.float32,
      "length": np.int64,
      "success": np.int64,  # 1, 0, or -1 where the task defines none
      "disturbed": np.bool_,  # some actions were changed before they were executed (gato_jax/collect/departures.py)
      "info": tfds.features.Text(),  # JSON: what episode_info() said beside "success", e.g. what was drawn at random
    }
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {"steps": tfds.features.Dataset(steps), "episode_metadata": episode_metadata}
      ),
      description=f"{spec.name}: {description}",
      metadata=self._info_metadata(spec, **metadata),
      disable_shuffling=True,
    )


class EpisodeBuilder(EpisodesBase, skip_registration=True):
  """RLDS episodes of one task. Subclasses give DOMAIN and BUILDER_CONFIGS."""

  @property
  def _directory(self) -> pathlib.Path:
    return logs.task_directory(raw_directory(), self.DOMAIN.name, self.task)

  def _info(self) -> tfds.core.DatasetInfo:
    spec = logs.read_spec(self._directory)
    spec = dataclasses.replace(spec, max_text_tokens=self.DOMAIN.text_tokens(self.task))  # no episode depends on them
    return self._episodes_info(spec, "expert episodes in RLDS.", with_expert_action=True)

  def _download_and_prepare(self, dl_manager: Any, download_config: Any) -> None:
    self._on_beam = bool(download_config.beam_runner or download_config.beam_options)
    try:
      super()._download_and_prepare(dl_manager, download_config)
    except (GatoError, RuntimeError) as e:  # a Beam worker's error comes with pages of its processes' tracebacks
      ours = _BEAM_WORKERS_ERROR.search("".join(traceback.format_exception_only(e)))
      if not ours:
        raise
      raise GatoError(ours[1]) from None

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    del dl_manager
    shards = logs.shards(self._directory)
    if not shards:
      raise MissingData(f"no complete shards in {self._directory}; run python -m experiments.collect")
    lengths = [sum(1 for _ in results.read(shard / "rows.jsonl")) for shard in shards]
    starts = np.cumsum([0, *lengths[:-1]]).tolist()
    numbered = [(start, str(shard.absolute())) for start, shard in zip(starts, shards, strict=True)]
    return {"train": self._generate_examples(numbered)}

  def _generate_examples(self, shards: Sequence[tuple[int, str]]) -> Any:
    """Of shards and the numbers of their first episodes: an iterator, or Beam's transform where Beam was asked for."""
    agent_id = self.DOMAIN.agent_id
    if not self._on_beam:
      return (numbered for shard in shards for numbered in _read(shard, agent_id))
    beam = tfds.core.lazy_imports.apache_beam
    return beam.Create(shards) | beam.Reshuffle() | beam.FlatMap(_read, agent_id)


def _read(numbered: tuple[int, str], agent_id: str) -> Iterator[tuple[int, dict[str, Any]]]:
  """Episodes of a raw shard whose first one has a number; on Beam this runs in any process of any machine."""
  start, shard = numbered
  for index, (row, columns) in enumerate(logs.read_shard(pathlib.Path(shard)), start):
    yield index, example(index, row, columns, agent_id)


def example(index: int, row: results.Row, columns: dict[str, np.ndarray], agent_id: str) -> dict[str, Any]:
  """An episode of a raw log as RLDS."""
  steps = specs.nested(columns)
  n = row.length + 1
  last = np.arange(n) == n - 1
  # The step before the last one carries the last transition's discount: 0 where the environment ended by itself.
  terminal = last & (columns["discount"][-2] == 0)
  steps.update(is_first=np.arange(n) == 0, is_last=last, is_terminal=terminal)
  return {
    "steps": steps,
    "episode_metadata": {
      "agent_id": agent_id,
      "task": row.task,
      "seed": row.seed,
      "index": index,
      "return": row.episode_return,
      "length": row.length,
      "success": SUCCESS_UNDEFINED if row.success is None else int(row.success),
      "disturbed": row.actor != "expert",
      "info": json.dumps(row.info, sort_keys=True),
    },
  }


class DocumentBuilder(_Builder, skip_registration=True):
  """Documents of one task (gato_jax/documents.py): those that train, and those that measure what was learned."""

  def _info(self) -> tfds.core.DatasetInfo:
    spec = specs.document_task_spec(self.DOMAIN, self.task, picture_side())
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(_document_features(spec.document_kind)),
      description=f"{spec.name}: documents.",
      metadata=self._info_metadata(spec),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    del dl_manager
    return {split: self._generate_examples(split) for split in documents.SPLITS}

  def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
    found = self.DOMAIN.read_documents(self.task, split, picture_side())
    bar = tqdm.tqdm(found, desc=f"{self.DOMAIN.name}.{self.task}, {split}", unit="document", leave=False, delay=2)
    index = -1
    for index, document in enumerate(bar):
      yield index, _record(document)
    if index < 0:
      raise GatoError(f"{self.DOMAIN.name}.{self.task}: there is no document of the {split} split")


def _document_features(kind: str) -> dict[str, Any]:
  text = tfds.features.Text()
  if kind == "text":
    return {"text": text}
  if kind == "pages":  # a segment is one of both; pictures differ in size, so they are PNG files here
    png = tfds.features.Tensor(shape=(), dtype=np.object_)
    return {"segments": tfds.features.Sequence({"image": png, "text": text})}
  image = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
  if kind == "captions":
    return {"image": image, "captions": tfds.features.Sequence(text)}
  return {"image": image, "question": text, "answers": tfds.features.Sequence(text)}


def _record(document: documents.Document) -> dict[str, Any]:
  """A document as `_document_features` has it."""
  match document:
    case str():
      return {"text": document}
    case documents.Captioned():
      return {"image": document.picture, "captions": list(document.captions)}
    case documents.Question():
      return {"image": document.picture, "question": document.question, "answers": list(document.answers)}
  texts = [segment if isinstance(segment, str) else "" for segment in document.segments]
  pictures = [b"" if isinstance(segment, str) else _png(segment) for segment in document.segments]
  return {"segments": {"image": pictures, "text": texts}}


def _png(picture: np.ndarray) -> bytes:
  file = io.BytesIO()
  Image.fromarray(picture).save(file, "PNG")
  return file.getvalue()
