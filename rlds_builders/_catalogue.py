"""The base of builders of recorded episodes: RLDS of TFDS' catalogue -> our RLDS, as a domain's Source declares it.

What was recorded is read where TFDS keeps it (TFDS_DATA_DIR, by default ~/tensorflow_datasets) and written once in the
one form that training reads: the catalogue's files cannot be read by index, and a spec does not allow all fields.
Nothing is downloaded.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from dm_env import specs as dm_specs

from gato_jax import specs
from gato_jax.errors import GatoError
from rlds_builders import _builder, _gate, _recorded, _values
from rlds_builders._recorded import load as load

_OUTSIDE_SHARE = 0.01  # of an action's values; more outside the bounds means that the bounds are wrong
_DISCRETE_VALUES = 1024


def task_spec(domain: specs.Domain, task: str, builder: tfds.core.DatasetBuilder) -> specs.TaskSpec:
  """The spec that follows from the recorded features and the declaration; GatoError where they do not fit."""
  source = domain.sources[task]
  where = f"{domain.name}.{task} ({source.dataset})"
  fields = _fields(builder, where)
  observation = _observation(source, fields)
  for path in (*observation.values(), *source.action):
    specs.check_name(path, fields, f"field of a step in {where}")
  for key in source.image_range:
    specs.check_name(key, observation, f"key of image_range in {where}")
  for path in source.action:
    if np.dtype(fields[path].np_dtype).kind not in "fiub":
      raise GatoError(f"{where}: the action {path} must be numbers, it is {np.dtype(fields[path].np_dtype)}")
  numbers = sum(int(np.prod(fields[path].shape, dtype=int)) for path in source.action)
  return specs.TaskSpec(
    name=f"{domain.name}.{task}",
    observation={key: _spec(fields[path], source, key, f"{where}, {path}") for key, path in observation.items()},
    action=_action_spec(source, numbers, where),
    max_text_tokens={**domain.max_text_tokens, **domain.task_text_tokens.get(task, {})},
  )


def _fields(builder: tfds.core.DatasetBuilder, where: str) -> dict[str, Any]:
  """Path -> TFDS' feature of the fields of a step."""
  features = builder.info.features
  if "steps" not in features or not isinstance(features["steps"], tfds.features.Dataset):
    raise GatoError(f"{where}: no RLDS, which has steps; its fields are {', '.join(features)}")
  return specs.flatten(_nested(features["steps"].feature))


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
  if not np.all(np.isfinite(bounds)) or not np.all(bounds[0] < bounds[1]):
    raise GatoError(
      f"{where}: every minimum must be below its maximum, and both finite: minimum={source.minimum}, "
      f"maximum={source.maximum}"
    )
  return dm_specs.BoundedArray((numbers,), np.float32, *bounds, name="action")


def _nested(features: Any) -> Any:
  if isinstance(features, tfds.features.FeaturesDict):
    return {key: _nested(feature) for key, feature in features.items()}
  return features


def _observation(source: specs.Source, fields: Mapping[str, Any]) -> Mapping[str, str]:
  prefix = "observation/"
  return source.observation or {path.removeprefix(prefix): path for path in fields if path.startswith(prefix)}


def _spec(feature: Any, source: specs.Source, key: str, where: str) -> dm_specs.Array:
  shape, dtype = feature.shape, np.dtype(feature.np_dtype)
  if isinstance(feature, tfds.features.Text) or dtype.kind in "OSU":
    if shape:
      raise GatoError(f"{where}: a text must be one string, this is an array {shape} of them")
    return dm_specs.StringArray(())

  is_image = isinstance(feature, tfds.features.Image) or (dtype == np.uint8 and len(shape) == 3)
  if is_image or key in source.image_range:
    return _image_spec(shape, dtype, source, key, where)
  if None in shape:
    raise GatoError(f"{where}: the shape {shape} is not the same in every step")
  if tf.as_dtype(dtype).is_floating:
    return dm_specs.Array(shape, np.float32)
  if dtype.kind == "b":
    return dm_specs.BoundedArray(shape, np.int32, 0, 1)
  if dtype.kind not in "iu":
    raise GatoError(f"{where}: {dtype} is neither a number that is learned nor a text; leave it out of `observation`")
  return dm_specs.BoundedArray(shape, np.int32, 0, _DISCRETE_VALUES - 1)


def _image_spec(
  shape: tuple[int | None, ...], dtype: np.dtype, source: specs.Source, key: str, where: str
) -> dm_specs.BoundedArray:
  value_range = source.image_range.get(key)
  if value_range is None and dtype != np.uint8:
    raise GatoError(
      f"{where}: images of {dtype} have no white that everybody knows; give the source "
      f"image_range={{{key!r}: (lowest, highest)}}, or name the other fields in its `observation`"
    )
  if value_range is not None and not (
    len(value_range) == 2 and np.all(np.isfinite(value_range)) and value_range[0] < value_range[1]
  ):
    raise GatoError(f"{where}: image_range must be a lowest and a highest value, this is {value_range}")

  if len(shape) == 2:
    shape = (*shape, 1)
  size = source.image_size or shape[:2]
  if len(shape) != 3 or None in size or any(side % 16 for side in size) or shape[2] not in (1, 3):
    raise GatoError(
      f"{where}: images are {shape}; give the source an image_size of multiples of 16, of RGB or grey images"
    )
  return dm_specs.BoundedArray((*size, 3), np.uint8, 0, 255)


class CatalogueBuilder(_builder.EpisodesBase, skip_registration=True):
  """Recorded episodes of one task. Subclasses give DOMAIN, with sources, and BUILDER_CONFIGS."""

  def _info(self) -> tfds.core.DatasetInfo:
    self._source = self.DOMAIN.sources[self.task]
    self._recorded = load(self._source)
    self._spec = task_spec(self.DOMAIN, self.task, self._recorded)
    self._paths = _observation(self._source, _fields(self._recorded, self._spec.name))
    self._outside = np.zeros(self._spec.action.shape)
    declared = dataclasses.asdict(self._source)
    return self._episodes_info(self._spec, f"{self._source.dataset} in the form that Gato reads.", source=declared)

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    del dl_manager
    return {"train": self._generate_examples()}

  def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
    steps = index = short = 0
    for number, recorded in enumerate(self._read(self._decoders())):
      columns = self._columns(self._steps(number, recorded), f"{self._spec.name}, episode {number}")
      n = len(columns["action"])
      if n < 2:  # nothing was done in it
        short += 1
        continue
      steps += n - 1
      yield index, {"steps": columns, "episode_metadata": self._metadata(index, columns)}
      index += 1

    if not index:
      raise GatoError(f"{self._source.dataset} holds no episode of two steps or more")
    if short:
      _gate.tell(
        f"{self._spec.name}: left out {short:,} of {index + short:,} episodes, which have fewer than two steps: "
        "nothing was done in them"
      )
    spec, share = self._spec.action, np.ravel(self._outside / steps)
    if share.max() > (0 if self._source.choices else _OUTSIDE_SHARE):
      worst = int(share.argmax())
      bounds = [float(np.ravel(bound)[worst]) for bound in (spec.minimum, spec.maximum)]
      raise GatoError(
        f"{self._spec.name}: {share[worst]:.0%} of the values of action number {worst} lie outside "
        f"[{bounds[0]:g}, {bounds[1]:g}]; the source's minimum and maximum, or choices, do not fit"
      )
    if share.any():
      _gate.tell(f"{self._spec.name}: moved {int(self._outside.sum()):,} numbers of actions to their bounds")

  def _read(self, decoders: Mapping[str, Any]) -> _recorded.Examples:
    return _recorded.Examples(self._source.dataset, self._recorded, self._source.split, decoders)

  def _images(self) -> dict[str, Any]:
    """Path -> TFDS' feature of the fields that are image files."""
    fields = _fields(self._recorded, self._spec.name)
    return {path: feature for path, feature in fields.items() if isinstance(feature, tfds.features.Image)}

  def _decoders(self) -> dict[str, Any]:
    """Leaves encoded the images that are not asked for: one that is damaged does no harm, and it takes no time."""
    unused = set(self._images()) - set(self._paths.values()) - set(self._source.action)
    return {"steps": specs.nested(dict.fromkeys(unused, tfds.decode.SkipDecoding()))} if unused else {}

  def _steps(self, number: int, recorded: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Steps of an episode, flat; GatoError names the image that cannot be decoded."""
    try:
      return [specs.flatten(step) for step in recorded["steps"]]
    except Exception as e:  # TensorFlow, Pillow and OpenCV raise unrelated types for a damaged image
      where = self._undecodable(number)
      if not where:
        raise
      raise GatoError(
        f"{self._spec.name}, episode {number}, {where}; mend it, or name the other fields in the source's `observation`"
      ) from e

  def _undecodable(self, number: int) -> str:
    """Names the first step and image of an episode that cannot be decoded, or ""."""
    episodes = iter(self._read({"steps": tfds.decode.SkipDecoding()}))
    for _ in range(number):
      next(episodes)
    columns = specs.flatten(next(episodes)["steps"])

    for path in sorted(set(self._images()) & set(self._paths.values())):
      for step, content in enumerate(columns[path]):
        try:
          self._images()[path].decode_example(content)
        except tf.errors.OpError as e:
          reason = "an empty string where an image should be"
          return f"step {step}, {path}: {f'damaged ({_recorded.reason(e)})' if content else reason}"
    return ""

  def _columns(self, steps: list[dict[str, Any]], where: str) -> dict[str, Any]:
    """Steps as they were recorded -> columns, as the spec says; where: task and episode."""
    observation = {
      key: [
        _values.of_observation(
          step[path], self._spec.observation[key], f"{where}, step {t}, {path}", self._source.image_range.get(key)
        )
        for t, step in enumerate(steps)
      ]
      for key, path in self._paths.items()
    }
    actions = [np.concatenate([np.ravel(step[path]) for path in self._source.action]) for step in steps]
    is_last = np.arange(len(steps)) == len(steps) - 1
    return {
      "observation": specs.nested(observation),
      "action": self._actions(np.array(actions).reshape(len(steps), *self._spec.action.shape), where),
      "reward": _numbers(steps, "reward", 0.0, where),
      "discount": _numbers(steps, "discount", 1.0, where),
      "is_first": np.arange(len(steps)) == 0,
      "is_last": is_last,
      "is_terminal": is_last & np.array([step.get("is_terminal", False) for step in steps], bool),
    }

  def _actions(self, actions: np.ndarray, where: str) -> np.ndarray:
    """Moves actions [n, A] or [n] to their bounds; the last, which nothing follows, is zero as in our own logs."""
    spec = self._spec.action
    actions[-1:] = 0
    for t, action in enumerate(actions):
      if not np.isfinite(action).all():
        raise GatoError(f"{where}, step {t}, {', '.join(self._source.action)}: the action {action} is not finite")

    rounding = 1e-3 * (spec.maximum - spec.minimum)
    outside = (actions < spec.minimum - rounding) | (actions > spec.maximum + rounding)
    if self._source.choices:
      outside |= actions != np.rint(actions)
    self._outside += outside[:-1].sum(axis=0)
    clipped = np.clip(actions, spec.minimum, spec.maximum).astype(spec.dtype)
    clipped[-1:] = 0
    return clipped

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


def _numbers(steps: list[dict[str, Any]], field: str, missing: float, where: str) -> np.ndarray:
  """Returns float32 [n], a number a step; the last one, which RLDS leaves undefined, is 0 where it is not finite."""
  values = [np.ravel(step.get(field, missing)) for step in steps]
  for t, value in enumerate(values):
    if value.shape != (1,):
      raise GatoError(f"{where}, step {t}: the {field} must be one number, this is {value.shape} of them")
    if t == len(values) - 1 and not np.isfinite(value).all():
      values[t] = np.zeros(1)
    else:
      _values.floats(value, f"{where}, step {t}, {field}", "mend it")
  return np.array(values, np.float32).reshape(len(values))
