"""The base of builders of recorded episodes: RLDS of TFDS' catalogue -> our RLDS, as a domain's Source declares it.

What was recorded is read where TFDS keeps it (TFDS_DATA_DIR, by default ~/tensorflow_datasets) and written once in the
one form that training reads: the catalogue's files cannot be read by index, and a spec does not allow all fields.
Nothing is downloaded.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from dm_env import specs as dm_specs
from PIL import Image

from gato_jax import specs
from gato_jax.errors import GatoError, MissingData
from rlds_builders import _builder

_PREFIX = "tfds:"
_OUTSIDE_SHARE = 0.01  # of an action's values; more outside the bounds means that the bounds are wrong
_DISCRETE_VALUES = 1024
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
  if fields is not None:
    decoders = tfds.decode.PartialDecoding(fields, decoders=decoders)
  try:
    found = load(specs.Source(dataset)).as_dataset(split=split, decoders=decoders, shuffle_files=False)
  except (MissingData, *_NOT_THERE) as e:
    command = f"tfds build {dataset.removeprefix(_PREFIX)}"
    raise _missing(dataset, f"`{command}` gets it there, or its page in TFDS' catalogue says how") from e
  return iter(tfds.as_numpy(found))


def task_spec(domain: specs.Domain, task: str, builder: tfds.core.DatasetBuilder) -> specs.TaskSpec:
  """The spec that follows from the recorded features and the declaration; GatoError where they do not fit."""
  source = domain.sources[task]
  where = f"{domain.name}.{task} ({source.dataset})"
  fields = specs.flatten(_nested(builder.info.features["steps"].feature))
  observation = _observation(source, fields)
  for path in (*observation.values(), *source.action):
    specs.check_name(path, fields, f"field of a step in {where}")
  numbers = sum(int(np.prod(fields[path].shape, dtype=int)) for path in source.action)
  return specs.TaskSpec(
    name=f"{domain.name}.{task}",
    observation={key: _spec(fields[path], source, f"{where}, {path}") for key, path in observation.items()},
    action=_action_spec(source, numbers, where),
    max_text_tokens={**domain.max_text_tokens, **domain.task_text_tokens.get(task, {})},
  )


def _action_spec(source: specs.Source, numbers: int, where: str) -> dm_specs.BoundedArray:
  """numbers: of the recorded action's fields together."""
  if source.choices:
    if numbers != 1:
      raise GatoError(f"{where}: a discrete action (choices={source.choices}) is one number, this one has {numbers}")
    return dm_specs.DiscreteArray(source.choices, np.int32, name="action")
  bounds = []
  for values in (source.minimum, source.maximum):
    if len(values) not in (1, numbers):
      raise GatoError(
        f"{where}: the action has {numbers} numbers, its bounds {len(values)}; give as many, or one for all"
      )
    bounds.append(np.broadcast_to(np.float32(values), (numbers,)))
  return dm_specs.BoundedArray((numbers,), np.float32, *bounds, name="action")


def _nested(features: Any) -> Any:
  if isinstance(features, tfds.features.FeaturesDict):
    return {key: _nested(feature) for key, feature in features.items()}
  return features


def _observation(source: specs.Source, fields: Mapping[str, Any]) -> Mapping[str, str]:
  prefix = "observation/"
  return source.observation or {path.removeprefix(prefix): path for path in fields if path.startswith(prefix)}


def _spec(feature: Any, source: specs.Source, where: str) -> dm_specs.Array:
  shape, dtype = feature.shape, np.dtype(feature.np_dtype)
  if isinstance(feature, tfds.features.Text) or dtype.kind in "OSU":
    if shape:
      raise GatoError(f"{where}: a text must be one string, this is an array {shape} of them")
    return dm_specs.StringArray(())
  if isinstance(feature, tfds.features.Image) or (dtype == np.uint8 and len(shape) == 3):
    size = source.image_size or shape[:2]
    if None in size or any(side % 16 for side in size) or shape[2] not in (1, 3):
      raise GatoError(
        f"{where}: images are {shape}; give the source an image_size of multiples of 16, of RGB or grey images"
      )
    return dm_specs.BoundedArray((*size, 3), np.uint8, 0, 255)
  if None in shape:
    raise GatoError(f"{where}: the shape {shape} is not the same in every step")
  if dtype.kind == "f":
    return dm_specs.Array(shape, np.float32)
  if dtype.kind == "b":
    return dm_specs.BoundedArray(shape, np.int32, 0, 1)
  return dm_specs.BoundedArray(shape, np.int32, 0, _DISCRETE_VALUES - 1)


class CatalogueBuilder(_builder.EpisodesBase, skip_registration=True):
  """Recorded episodes of one task. Subclasses give DOMAIN, with sources, and BUILDER_CONFIGS."""

  def _info(self) -> tfds.core.DatasetInfo:
    self._source = self.DOMAIN.sources[self.task]
    self._recorded = load(self._source)
    self._spec = task_spec(self.DOMAIN, self.task, self._recorded)
    self._outside = np.zeros(self._spec.action.shape)
    declared = dataclasses.asdict(self._source)
    return self._episodes_info(self._spec, f"{self._source.dataset} in the form that Gato reads.", source=declared)

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    del dl_manager
    return {"train": self._generate_examples()}

  def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
      episodes = self._recorded.as_dataset(split=self._source.split)
    except _NOT_THERE as e:
      raise _missing(self._source.dataset) from e
    steps = index = 0
    for recorded in episodes:
      columns = self._columns(recorded["steps"])
      n = len(columns["action"])
      if n < 2:  # nothing was done in it
        continue
      steps += n - 1
      yield index, {"steps": columns, "episode_metadata": self._metadata(index, columns)}
      index += 1
    if not index:
      raise GatoError(f"{self._source.dataset} holds no episode of two steps or more")
    spec, share = self._spec.action, np.ravel(self._outside / steps)
    if share.max() > (0 if self._source.choices else _OUTSIDE_SHARE):
      worst = int(share.argmax())
      bounds = [float(np.ravel(bound)[worst]) for bound in (spec.minimum, spec.maximum)]
      raise GatoError(
        f"{self._spec.name}: {share[worst]:.0%} of the values of action number {worst} lie outside "
        f"[{bounds[0]:g}, {bounds[1]:g}]; the source's minimum and maximum, or choices, do not fit"
      )

  def _columns(self, recorded: Any) -> dict[str, Any]:
    """Steps as they were recorded -> columns, as the spec says."""
    flat = [specs.flatten(step) for step in tfds.as_numpy(recorded)]
    paths = _observation(self._source, flat[0]) if flat else {}
    observation = {}
    for key, path in paths.items():
      observation[key] = [self._value(step[path], self._spec.observation[key]) for step in flat]
    spec = self._spec.action
    actions = [np.concatenate([np.ravel(step[path]) for path in self._source.action]) for step in flat]
    is_last = np.arange(len(flat)) == len(flat) - 1
    return {
      "observation": specs.nested(observation),
      "action": self._within_bounds(np.array(actions, spec.dtype).reshape(len(flat), *spec.shape)),
      "reward": np.array([step.get("reward", 0.0) for step in flat], np.float32),
      "discount": np.array([step.get("discount", 1.0) for step in flat], np.float32),
      "is_first": np.arange(len(flat)) == 0,
      "is_last": is_last,
      "is_terminal": is_last & np.array([step.get("is_terminal", False) for step in flat], bool),
    }

  def _value(self, value: Any, spec: dm_specs.Array) -> Any:
    if isinstance(spec, dm_specs.StringArray):
      return value
    if spec.dtype == np.uint8 and value.shape != spec.shape:
      height, width = spec.shape[:2]
      image = Image.fromarray(value.squeeze(-1) if value.shape[-1] == 1 else value).convert("RGB")
      return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return np.asarray(value, spec.dtype)

  def _within_bounds(self, actions: np.ndarray) -> np.ndarray:
    """Actions [n, A] or [n] moved to their bounds; the last, which nothing follows, is zero as in our own logs."""
    spec = self._spec.action
    rounding = 1e-3 * (spec.maximum - spec.minimum)
    outside = (actions < spec.minimum - rounding) | (actions > spec.maximum + rounding)
    self._outside += outside[:-1].sum(axis=0)
    actions = np.clip(actions, spec.minimum, spec.maximum)  # NaN stays, and is an error when it is tokenised
    actions[-1:] = 0
    return actions

  def _metadata(self, index: int, columns: dict[str, Any]) -> dict[str, Any]:
    return {
      "agent_id": self.DOMAIN.agent_id,
      "task": self._spec.name,
      "seed": index,
      "index": index,
      "return": float(columns["reward"].sum()),
      "length": len(columns["action"]) - 1,
      "success": _builder.SUCCESS_UNDEFINED,
      "disturbed": False,
      "info": "{}",
    }
