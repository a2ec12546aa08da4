"""The actions that a checkpoint would choose along held-out recorded episodes, given what truly happened before.

Each measured step is answered by the engine that acts everywhere else: its memory is emptied, reads the prompt and the
recorded steps before this one, observations and actions, and then comes the recorded observation. Where the prompt and
these steps fit into the memory this is what acting sees; of longer histories it is the last whole steps that fit.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tqdm

from gato_jax import randomness, results, specs
from gato_jax.data import episodes, records, windows
from gato_jax.errors import GatoError
from gato_jax.mixture import MixtureConfig
from gato_jax.recorded import rows
from gato_jax.tokens import layout

_SLOTS = 16  # steps that are acted on in one batch
_TRAINING_EPISODES = 1000  # read for the mean action, drawn


class History:
  """What the memory holds before a step, as the engine asks for prompts: by the episode's seed, here a step's.

  Attributes:
    layout: of the task. steps: that it holds at most.
  """

  def __init__(self, prompts: Any, memory_length: int, memory_steps: int):
    """prompts: agent.prompts.Prompts of the task. memory_length: of the model. memory_steps: of agent.ActConfig."""
    self.layout: layout.TokenLayout = prompts.layout
    self.steps = memory_length // self.layout.length
    if memory_steps:
      self.steps = min(self.steps, prompts.steps + memory_steps - 1)
    self._prompts, self._memory_steps = prompts, memory_steps
    self._episode: tuple[int, Mapping[str, np.ndarray], np.ndarray] | None = None

  @property
  def length(self) -> int:
    return self.steps * self.layout.length

  @property
  def patch_count(self) -> int:
    return self.steps * self.layout.patch_count

  def follow(self, number: int, observation: Mapping[str, np.ndarray], action: np.ndarray) -> None:
    """From now on the steps are those of an episode: columns [n, ...]; `number` picks its prompt."""
    self._episode = number, observation, action

  def choose(self, seed: int) -> layout.Steps:
    """The encoded steps before step `seed` of the episode, behind its prompt."""
    number, observation, action = self._episode
    first = seed // self._memory_steps * self._memory_steps if self._memory_steps else 0
    piece = slice(first, seed + 1)  # this step too, since nothing can be encoded of no steps; it goes below
    parts = [self.layout.encode({key: column[piece] for key, column in observation.items()}, action[piece])]
    if self._prompts.steps:
      parts.insert(0, self._prompts.choose(number))

    columns = {}
    for name in (field.name for field in dataclasses.fields(layout.Steps)):
      before = np.concatenate([getattr(part, name) for part in parts])[:-1]
      columns[name] = before[max(0, len(before) - self.steps) :]
    return layout.Steps(**columns)


def run(
  policy: Any,
  act: Any,
  tfds_dir: pathlib.Path,
  tasks: list[str],
  config: MixtureConfig,
  workdir: pathlib.Path,
  wanted: int,
  wanted_steps: int,
) -> int:
  """Measures what has no row yet in <workdir>/actions.jsonl; returns how many episodes that were.

  Args:
    policy: agent.Policy. act: agent.ActConfig. tasks: "domain.task" of recorded ones, built in `tfds_dir`.
    config: of the training run; its hold_out says which episodes never trained.
    wanted: episodes a task, of those held out. wanted_steps: of each of them; both drawn, and the same every time.

  Raises:
    GatoError: nothing is held out, the checkpoint was trained with something else held out, or on another spec.
  """
  check_held_out(policy, config)
  if act.prompt_task:
    raise GatoError("act.prompt_task is not for recorded tasks, whose own steps fill the memory; leave it empty")

  measured = 0
  for task in tasks:
    spec = policy.spec(task)
    data = episodes.load(tfds_dir, task, config.keep, with_returns=spec.expert_return is not None)
    difference = specs.difference(spec, data.spec)
    if difference:
      raise GatoError(f"{task}: the checkpoint in {policy.workdir} was trained on another spec ({difference})")

    held_out = windows.held_out_episodes(data, config)
    chosen = held_out[_drawn(f"held-out episodes/{task}", len(held_out), wanted)]
    fingerprint = episodes.source_fingerprint(data.directory)
    known = {(row.task, row.step, row.data, row.episode, row.temperature) for row in read(workdir)}
    missing = [i for i in chosen.tolist() if (task, policy.step, fingerprint, i, act.temperature) not in known]
    if not missing:
      continue

    follower = Follower(policy, act, task, data)
    constant = _constant(data, np.setdiff1d(data.kept, held_out))
    for episode in tqdm.tqdm(missing, desc=task, unit="episode", dynamic_ncols=True):
      at = _drawn(f"steps/{task}/{episode}", int(data.lengths[episode]), wanted_steps)
      errors = follower.errors(episode, at, constant)
      row = rows.Row(task, policy.step, fingerprint, episode, act.temperature, follower.discrete, len(at), *errors)
      results.append(workdir / rows.ROWS, [row])
    measured += len(missing)
  return measured


def read(workdir: pathlib.Path) -> list[rows.Row]:
  return list(results.read(workdir / rows.ROWS, rows.Row))


def check_held_out(policy: Any, config: MixtureConfig) -> None:
  """Raises GatoError unless the checkpoint's training held out the episodes that `config` would measure."""
  trained = policy.meta.get("config", {}).get("data", {})
  if not trained.get("hold_out", config.hold_out):
    raise GatoError(
      f"{policy.workdir} was trained with no recorded episode held out (data.hold_out=0), so none can be measured; "
      "train with --config.data.hold_out=10, which keeps every tenth for it, and measure with the same"
    )
  for name in ("hold_out", "keep"):
    ours, theirs = getattr(config, name), trained.get(name)
    if theirs not in (None, ours):
      raise GatoError(
        f"{policy.workdir} was trained with data.{name}={theirs}, now it is {ours}: episodes that trained would count "
        f"as held out; measure with --config.data.{name}={theirs}"
      )


class Follower:
  """A policy along the recorded episodes of one task.

  Attributes:
    discrete: whether the action is.
  """

  def __init__(self, policy: Any, act: Any, task: str, data: episodes.Episodes):
    self._task, self._data = task, data
    self._history = History(policy.prompts(task, act), policy.model_config.memory_length, act.memory_steps)
    self._engine = policy.engine([task], _SLOTS, act, {task: self._history})
    self.discrete = np.issubdtype(data.spec.action.dtype, np.integer)

  def actions(self, episode: int, observation: Mapping[str, Any], action: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Returns the policy's actions [len(at), ...] at the steps `at`, given the columns of the whole episode."""
    self._history.follow(episode, observation, action)
    chosen = []
    for batch in np.split(at, range(_SLOTS, len(at), _SLOTS)):
      packed = {}
      for slot, step in enumerate(batch.tolist()):
        self._engine.start(slot, self._task, seed=step)
        packed[slot] = self._engine.pack(self._task, {key: column[step] for key, column in observation.items()})
      acted = self._engine.act(packed)
      chosen += [acted[slot] for slot in packed]
    return np.stack(chosen)

  def errors(self, episode: int, at: np.ndarray, constant: np.ndarray) -> tuple[list[float], list[float], list[float]]:
    """Returns the errors of the policy, of copying and of the constant action, each [numbers of the action]."""
    observation, action = self._data.window(episode, 0, int(self._data.lengths[episode]))
    copied = np.concatenate([constant[None], action[:-1]])[at]
    others = (self.actions(episode, observation, action, at), copied, np.broadcast_to(constant, action[at].shape))
    return tuple(self._error(other, action[at]) for other in others)

  def _error(self, ours: np.ndarray, recorded: np.ndarray) -> list[float]:
    apart = ours != recorded if self.discrete else np.abs(ours.astype(np.float64) - recorded)
    return apart.reshape(len(apart), -1).mean(axis=0).tolist()


def _constant(data: episodes.Episodes, training: np.ndarray) -> np.ndarray:
  """The mean action of the training episodes, or each number's most frequent choice."""
  source = records.Episodes(data.directory)
  chosen = training[_drawn(f"mean action/{data.spec.name}", len(training), _TRAINING_EPISODES)]
  actions = np.concatenate([source.columns(i, ("action",))["action"][:-1] for i in chosen.tolist()])
  if not np.issubdtype(actions.dtype, np.integer):
    return actions.mean(axis=0)
  numbers = actions.reshape(len(actions), -1).T
  return np.array([np.bincount(number).argmax() for number in numbers]).reshape(actions.shape[1:])


def _drawn(purpose: str, total: int, wanted: int) -> np.ndarray:
  """`wanted` of `total` places, ascending; the same every time, and a larger sample holds the smaller ones."""
  return np.sort(randomness.generator(purpose).permutation(total)[:wanted])
