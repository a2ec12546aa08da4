"""The episodes of a recorded task, read where they lie, as its domain's Source declares them.

Nothing is downloaded, and nothing is copied but into the form that training reads.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from gato_jax.domain import RecordedDomain
from gato_jax.errors import GatoError
from gato_jax.task import TaskSpec, flatten, nested
from rlds_builders.base import (
  conversion,
  recorded_source,
  recorded_spec,
  records,
  skip_counter,
  tfds_source,
)

# Fields that count by their name, without being declared.
_WITHOUT_DECLARATION = ("reward", "discount", "is_terminal")


class RecordedEpisodes:
  """Episodes of one task as RLDS records (gato_jax.data.records.RecordStream).

  Attributes:
    spec: The task's spec.
    splits: Names of the splits that are read, the one that is held out last.
  """

  def __init__(self, domain: RecordedDomain, task: str):
    """Opens the source.

    Raises:
      MissingData: There is nothing.
      GatoError: What is there does not fit the declaration.
    """
    self._agent_id = domain.agent_id
    self._source = domain.sources[task]
    self._recorded = recorded_source.load(self._source)
    self.spec: TaskSpec = recorded_spec.task_spec(domain, task, self._recorded)

    self.splits = [self._source.split]
    if self._source.validation_split:
      self.splits.append(self._source.validation_split)

    fields = recorded_spec.step_fields(self._recorded, self.spec.name)
    self._paths = recorded_spec.observation_paths(self._source, fields)
    self._image_features = {
      path: feature for path, feature in fields.items() if isinstance(feature, tfds.features.Image)
    }

    assert self.spec.action is not None
    self._action_spec: Any = self.spec.action

    # Count of values outside the bounds, for each number of the action.
    self._outside = np.zeros(self._action_spec.shape)

  def records(self, split: str) -> Iterator[dict[str, Any]]:
    """Yields the RLDS records of a split of the recording.

    Raises:
      GatoError: What was recorded is damaged, or does not fit the declaration.
    """
    step_count = 0
    episode_count = 0
    short_count = 0
    self._outside = np.zeros(self._action_spec.shape)

    for number, recorded in enumerate(self._read(split, self._decoders())):
      # `number` counts as TFDS reads them, for messages; `episode_count` those that are kept.
      steps = self._steps(split, number, recorded)
      columns = self._columns(steps, f"{self.spec.name}, episode {number}")

      length = len(columns["action"])
      if length < 2:
        short_count += 1
        continue

      # The last step has no action that counts.
      step_count += length - 1
      metadata = self._metadata(episode_count, columns)
      yield {"steps": columns, "episode_metadata": metadata}
      episode_count += 1

    if not episode_count:
      raise GatoError(
        f"{self._source.dataset} holds no episode of two steps or more in the split {split!r}"
      )
    if short_count:
      skip_counter.tell(
        f"{self.spec.name}: left out {short_count:,} of {episode_count + short_count:,} episodes, "
        "which have fewer than two steps: nothing was done in them"
      )
    self._check_outside(step_count)

  def _check_outside(self, step_count: int) -> None:
    """Reports how many values of actions lay outside the bounds; raises where they are too many."""
    share = np.ravel(self._outside / step_count)
    # A discrete action has no value that is nearest.
    allowed = 0 if self._source.choices else self._source.clip

    if share.max() > allowed:
      spec = self._action_spec
      worst = int(share.argmax())
      low, high = (float(np.ravel(bound)[worst]) for bound in (spec.minimum, spec.maximum))
      raise GatoError(
        f"{self.spec.name}: {share[worst]:.0%} of the values of action number {worst} lie outside "
        f"[{low:g}, {high:g}]; the source's minimum and maximum, or choices, do not fit"
      )

    if share.any():
      skip_counter.tell(
        f"{self.spec.name}: moved {int(self._outside.sum()):,} numbers of actions to their bounds"
      )

  def _read(self, split: str, decoders: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    if isinstance(self._recorded, recorded_source.FileRecording):
      used = {*self._paths.values(), *self._source.action, *_WITHOUT_DECLARATION}
      return self._recorded.examples(split, used)

    return tfds_source.Examples(
      self._source.dataset, self._recorded, split=split, decoders=decoders
    )

  def _decoders(self) -> dict[str, Any]:
    """Returns decoders that leave unused images encoded.

    One that is damaged then does no harm, and none takes time.
    """
    used = {*self._paths.values(), *self._source.action}
    return recorded_source.undecoded(set(self._image_features) - used)

  def _steps(self, split: str, number: int, recorded: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Decodes the steps of an episode into flat dicts.

    Args:
      split: The split.
      number: Index of the episode in the recording.
      recorded: The episode as TFDS reads it.

    Raises:
      GatoError: An image cannot be decoded; the message names it.
    """
    try:
      return [flatten(step) for step in recorded["steps"]]
    except GatoError:
      raise
    except Exception as e:
      # TensorFlow, Pillow and OpenCV raise unrelated types for a damaged image.
      where = self._undecodable(split, number)
      if not where:
        raise
      raise GatoError(
        f"{self.spec.name}, episode {number}, {where}; mend it, or name the other fields in the "
        "source's `observation`"
      ) from e

  def _undecodable(self, split: str, number: int) -> str:
    """Names the first step and image of an episode that cannot be decoded, or returns ""."""
    # The episode is read once more without decoding, and its images are decoded one by one.
    episodes = iter(self._read(split, {"steps": tfds.decode.SkipDecoding()}))
    for _ in range(number):
      next(episodes)
    columns = flatten(next(episodes)["steps"])

    for path in sorted(set(self._image_features) & set(self._paths.values())):
      for t, content in enumerate(columns[path]):
        try:
          self._image_features[path].decode_example(content)
        except tf.errors.OpError as e:
          fault = "an empty string where an image should be"
          if content:
            fault = f"damaged ({tfds_source.reason(e)})"
          return f"step {t}, {path}: {fault}"
    return ""

  def _columns(self, steps: list[dict[str, Any]], where: str) -> dict[str, Any]:
    """Converts recorded steps to columns that conform to the spec.

    Args:
      steps: Flat dicts, one a step.
      where: Task and episode, for messages.
    """
    length = len(steps)
    observation = {}
    for key, path in self._paths.items():
      spec = self.spec.observation[key]
      value_range = self._source.image_range.get(key)
      column = []
      for t, step in enumerate(steps):
        name = f"{where}, step {t}, {path}"
        value = conversion.of_observation(
          step[path], spec, where=name, value_range=value_range, resize=self._source.resize
        )
        column.append(value)
      # Texts are bytes, of which NumPy would cut off trailing zeros.
      observation[key] = np.array(column, object if isinstance(column[0], bytes) else None)

    # The declared fields, one after the other, are one vector; a discrete action is a scalar.
    actions = []
    for step in steps:
      actions.append(np.concatenate([np.ravel(step[path]) for path in self._source.action]))
    recorded_actions = np.array(actions).reshape(length, *self._action_spec.shape)

    is_first = np.arange(length) == 0
    is_last = np.arange(length) == length - 1
    # Some recordings mark steps as terminal before the last one, where nothing ended.
    is_terminal = is_last & np.array(
      [np.any(step.get("is_terminal", False)) for step in steps], bool
    )

    return {
      "observation": nested(observation),
      "action": self._actions(recorded_actions, where),
      "reward": _numbers(steps, "reward", missing=0.0, where=where),
      "discount": _numbers(steps, "discount", missing=1.0, where=where),
      "is_first": is_first,
      "is_last": is_last,
      "is_terminal": is_terminal,
    }

  def _actions(self, actions: np.ndarray, where: str) -> np.ndarray:
    """Moves actions to their bounds and counts those that were outside.

    The last action, which nothing follows, becomes zero as in our own logs.

    Args:
      actions: [T, A], or [T] where the action is discrete. Overwritten.
      where: Task and episode, for messages.
    """
    spec = self._action_spec
    actions[-1:] = 0
    for t, action in enumerate(actions):
      if not np.isfinite(action).all():
        raise GatoError(
          f"{where}, step {t}, {', '.join(self._source.action)}: the action {action} is not finite"
        )

    # Rounding of the recorded numbers may cross a bound by a little, which does not count.
    tolerance = 1e-3 * (spec.maximum - spec.minimum)
    outside = (actions < spec.minimum - tolerance) | (actions > spec.maximum + tolerance)
    if self._source.choices:
      outside |= actions != np.rint(actions)
    self._outside += outside[:-1].sum(axis=0)

    clipped = np.clip(actions, spec.minimum, spec.maximum).astype(spec.dtype)
    # Zero may itself lie outside the bounds.
    clipped[-1:] = 0
    return clipped

  def _metadata(self, index: int, columns: dict[str, Any]) -> dict[str, Any]:
    return {
      "agent_id": self._agent_id,
      "task": self.spec.name,
      "seed": index,
      "index": index,
      "return": float(columns["reward"].sum()),
      "length": len(columns["action"]) - 1,
      "success": records.SUCCESS_UNDEFINED,
      "disturbed": False,
      "info": "{}",
    }


def _numbers(steps: list[dict[str, Any]], field: str, missing: float, where: str) -> np.ndarray:
  """Returns a field with one number a step, as float32 [T].

  The last number, which RLDS leaves undefined, becomes 0 where it is not finite.

  Args:
    steps: Flat dicts, one a step.
    field: "reward" or "discount".
    missing: The number of steps that lack the field.
    where: Task and episode, for messages.
  """
  values = [np.ravel(step.get(field, missing)) for step in steps]
  for t, value in enumerate(values):
    if value.shape != (1,):
      raise GatoError(
        f"{where}, step {t}: the {field} must be one number, this is {value.shape} of them"
      )

    is_last = t == len(values) - 1
    if is_last and not np.isfinite(value).all():
      values[t] = np.zeros(1)
    else:
      conversion.floats(value, f"{where}, step {t}, {field}", hint="mend it")

  return np.array(values, np.float32).reshape(len(values))
