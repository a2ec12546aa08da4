"""Measures the actions that a checkpoint would choose along recorded episodes it did not train on.

Each measured step is answered by the engine that acts everywhere else. Its KV cache is emptied,
reads the prompt and the recorded steps before this one, observations and actions, and then comes
the recorded observation. Where the prompt and these steps fit into the cache, this is what acting
sees; of longer histories it is the last whole steps that fit.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tqdm

from experiments.analysis.recorded import rows
from gato_jax import randomness
from gato_jax.data import prepared, prepared_format, splits
from gato_jax.data.mixture import MixtureConfig
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.task import spec_difference
from gato_jax.tokens import layout

_SLOTS = 16  # steps that are acted on in one batch
_TRAINING_EPISODES = 1000  # read for the mean action


class History:
  """The steps that the KV cache holds before a step, in the place of a prompt.

  The engine asks for a prompt by the seed of an episode. Here every step is an episode of its own,
  and the seed is the index of the step.

  Attributes:
    layout: Layout of the task.
    steps: Largest number of steps.
  """

  are_demonstrations = False

  def __init__(self, prompts: Any, memory_length: int, memory_steps: int, history_steps: int):
    """Prepares the histories of one task.

    Args:
      prompts: The task's agent.prompts.Prompts.
      memory_length: Length of the KV cache in tokens (model.memory_length).
      memory_steps: Steps after which acting empties the cache (act.memory_steps); 0 for never.
      history_steps: Steps that an action depends on (act.history_steps); 0 for all.
    """
    self.layout: layout.TokenLayout = prompts.layout
    self.steps = memory_length // self.layout.length
    if memory_steps:
      # The step that is answered is one of `memory_steps` and no part of its own history.
      self.steps = min(self.steps, prompts.steps + memory_steps - 1)
    if history_steps:
      self.steps = min(self.steps, history_steps - 1)

    self._prompts = prompts
    self._memory_steps = memory_steps
    self._episode: tuple[int, Mapping[str, np.ndarray], np.ndarray] | None = None

  @property
  def length(self) -> int:
    """Largest number of tokens."""
    return self.steps * self.layout.length

  @property
  def patch_count(self) -> int:
    """Largest number of image patches."""
    return self.steps * self.layout.patch_count

  def follow(self, number: int, observation: Mapping[str, np.ndarray], action: np.ndarray) -> None:
    """Takes the histories from an episode from now on.

    Args:
      number: Seed that picks the episode's prompt.
      observation: Flat key -> column [n, ...].
      action: [n, ...].
    """
    self._episode = number, observation, action

  def choose(self, seed: int, group: int = 0) -> layout.Steps:
    """Returns the encoded steps before step `seed` of the episode, after its prompt."""
    del group  # recorded episodes name none
    assert self._episode is not None, "follow an episode first"
    number, observation, action = self._episode

    # Acting empties its cache every `memory_steps` steps.
    first = 0
    if self._memory_steps:
      first = seed // self._memory_steps * self._memory_steps

    # This step is encoded, too, since nothing can be encoded of no steps; it is cut off below.
    piece = slice(first, seed + 1)
    piece_observation = {key: column[piece] for key, column in observation.items()}
    parts = [self.layout.encode(piece_observation, action[piece])]
    if self._prompts.steps:
      parts.insert(0, self._prompts.choose(number))

    columns = {}
    for field in dataclasses.fields(layout.Steps):
      before = np.concatenate([getattr(part, field.name) for part in parts])[:-1]
      columns[field.name] = before[max(0, len(before) - self.steps) :]

    return layout.Steps(**columns)


def run(
  policy: Any,
  act: Any,
  tfds_dir: pathlib.Path,
  tasks: list[str],
  config: MixtureConfig,
  workdir: pathlib.Path,
  episodes: int,
  steps: int,
) -> int:
  """Measures the episodes that have no row yet in <workdir>/actions.jsonl.

  Args:
    policy: An agent.Policy.
    act: An agent.ActConfig.
    tfds_dir: Directory of the datasets.
    tasks: Names "domain.task" of recorded tasks.
    config: The mixture; its validation_every decides which episodes never trained.
    workdir: Directory of the rows.
    episodes: Number of episodes of each task, drawn from its validation split.
    steps: Number of steps of each episode, drawn. Both draws are the same every time.

  Returns:
    How many episodes were measured.

  Raises:
    GatoError: The validation split is empty, or the checkpoint was trained with another one or on
      another spec.
  """
  if act.prompt_task:
    raise GatoError(
      "act.prompt_task is not for recorded tasks, whose own steps fill the memory; leave it empty"
    )

  measured = 0
  for task in tasks:
    spec = policy.spec(task)
    data = prepared.load(
      tfds_dir, task, keep=config.keep, with_returns=spec.expert_return is not None
    )
    assert isinstance(data, prepared.PreparedEpisodes), task
    difference = spec_difference(spec, data.spec)
    if difference:
      raise GatoError(
        f"{task}: the checkpoint in {policy.workdir} was trained on another spec ({difference})"
      )

    # What the dataset itself holds out trained no checkpoint.
    if not len(data.validation):
      check_held_out(policy, config)
    validation = splits.split_episodes(data, config, split="validation")
    # The purpose of a draw seeds it: another text would measure other episodes.
    chosen = validation[_sample(f"held-out episodes/{task}", len(validation), episodes)]

    fingerprint = prepared_format.source_fingerprint(data.directory)
    existing = {
      (row.task, row.step, row.data, row.episode, row.temperature) for row in read(workdir)
    }
    missing = [
      episode
      for episode in chosen.tolist()
      if (task, policy.step, fingerprint, episode, act.temperature) not in existing
    ]
    if not missing:
      continue

    follower = Follower(policy, act, task=task, data=data)
    constant = _constant_action(data, np.setdiff1d(data.kept, validation))

    for episode in tqdm.tqdm(missing, desc=task, unit="episode", dynamic_ncols=True):
      at = _sample(f"steps/{task}/{episode}", int(data.lengths[episode]), steps)
      error, copied_error, constant_error = follower.errors(episode, at, constant=constant)
      row = rows.ActionErrorRow(
        task=task,
        step=policy.step,
        data=fingerprint,
        episode=episode,
        temperature=act.temperature,
        discrete=follower.discrete,
        steps=len(at),
        error=error,
        copied=copied_error,
        constant=constant_error,
      )
      results.append(workdir / rows.ROWS, [row])

    measured += len(missing)

  return measured


def read(workdir: pathlib.Path) -> list[rows.ActionErrorRow]:
  """Returns all rows of a workdir."""
  return list(results.read(workdir / rows.ROWS, rows.ActionErrorRow))


def check_held_out(policy: Any, config: MixtureConfig) -> None:
  """Refuses a checkpoint that was trained on episodes of the validation split of `config`.

  Raises:
    GatoError: It was trained with other settings.
  """
  trained = policy.meta.get("config", {}).get("data", {})

  # An older checkpoint does not say how it was split; then `config` is believed.
  if not trained.get("validation_every", config.validation_every):
    raise GatoError(
      f"{policy.workdir} was trained with no recorded episode held out (data.validation_every=0), "
      "so none can be measured; train with --config.data.validation_every=10, which keeps every "
      "tenth for it, and measure with the same"
    )

  for name in ("validation_every", "keep"):
    ours, theirs = getattr(config, name), trained.get(name)
    if theirs not in (None, ours):
      raise GatoError(
        f"{policy.workdir} was trained with data.{name}={theirs}, now it is {ours}: episodes that "
        f"trained would count as held out; measure with --config.data.{name}={theirs}"
      )


class Follower:
  """A policy along the recorded episodes of one task.

  Attributes:
    discrete: True when the action is discrete.
  """

  def __init__(self, policy: Any, act: Any, task: str, data: prepared.PreparedEpisodes):
    """Prepares an engine.

    Args:
      policy: An agent.Policy.
      act: An agent.ActConfig.
      task: Name "domain.task".
      data: The task's episodes.

    Raises:
      GatoError: There is a prompt, and the steps behind it are not seen as its own are.
    """
    self._task = task
    self._data = data

    if policy.chunk:
      raise GatoError(
        f"{task}: the checkpoint predicts {policy.chunk} actions a step, and recorded actions are "
        "compared one by one; measure a checkpoint without data.chunk"
      )

    # The past is shown in the prompt's place, where all steps are seen alike.
    prompts = policy.prompts(task, act)
    if prompts.steps and (act.history_steps or policy.model_config.past_actions == "hidden"):
      raise GatoError(
        f"{task}: measuring with a prompt needs act.history_steps=0 and a network that sees past "
        "actions; measure with --config.act.prompt=none"
      )

    self._history = History(
      prompts,
      memory_length=policy.model_config.memory_length,
      memory_steps=act.memory_steps,
      history_steps=act.history_steps,
    )
    self._engine = policy.engine([task], slots=_SLOTS, config=act, prompts={task: self._history})

    assert data.spec.action is not None
    self.discrete = bool(np.issubdtype(data.spec.action.dtype, np.integer))

  def actions(
    self, episode: int, observation: Mapping[str, Any], action: np.ndarray, at: np.ndarray
  ) -> np.ndarray:
    """Returns the policy's actions [len(at), ...] along an episode.

    Args:
      episode: Index of the episode.
      observation: Flat key -> column [n, ...] of the whole episode.
      action: [n, ...], the recorded actions.
      at: Indices of the steps to act in.
    """
    self._history.follow(episode, observation, action=action)

    chosen = []
    for batch in np.split(at, range(_SLOTS, len(at), _SLOTS)):
      packed = {}
      for slot, step in enumerate(batch.tolist()):
        self._engine.start(slot, self._task, seed=step)
        step_observation = {key: column[step] for key, column in observation.items()}
        packed[slot] = self._engine.pack(self._task, step_observation)

      acted = self._engine.act(packed)
      chosen += [acted[slot] for slot in packed]

    return np.stack(chosen)

  def errors(
    self, episode: int, at: np.ndarray, constant: np.ndarray
  ) -> tuple[list[float], list[float], list[float]]:
    """Returns the errors of the policy, of copying and of a constant action.

    Each is a list with the error of each number of the action.

    Args:
      episode: Index of the episode.
      at: Indices of the steps to measure.
      constant: The constant action.
    """
    observation, action = self._data.window(episode, 0, int(self._data.lengths[episode]))
    recorded = action[at]

    # The action before each step; the first step has none and takes the constant one.
    previous = np.concatenate([constant[None], action[:-1]])
    acted = self.actions(episode, observation, action=action, at=at)

    return (
      self._error(acted, recorded),
      self._error(previous[at], recorded),
      self._error(np.broadcast_to(constant, recorded.shape), recorded),
    )

  def _error(self, actions: np.ndarray, recorded: np.ndarray) -> list[float]:
    """Returns the mean error of each number of the actions [n, ...]."""
    if self.discrete:
      error = actions != recorded
    else:
      error = np.abs(actions.astype(np.float64) - recorded)

    return error.reshape(len(error), -1).mean(axis=0).tolist()


def _constant_action(data: prepared.PreparedEpisodes, training: np.ndarray) -> np.ndarray:
  """Returns the mean action of training episodes, or each number's most frequent choice."""
  sample = _sample(f"mean action/{data.spec.name}", len(training), _TRAINING_EPISODES)
  pieces = [(i, 0, int(data.lengths[i])) for i in training[sample].tolist()]
  actions = data.actions(pieces)

  if not np.issubdtype(actions.dtype, np.integer):
    return actions.mean(axis=0)

  numbers = actions.reshape(len(actions), -1).T
  most_frequent = np.array([np.bincount(number).argmax() for number in numbers])

  return most_frequent.reshape(actions.shape[1:])


def _sample(purpose: str, total: int, size: int) -> np.ndarray:
  """Returns `size` of `total` indices in ascending order, or all where there are no more.

  The sample of a purpose is the same every time, and larger samples contain smaller ones.
  """
  # A smaller sample is a prefix of the same permutation.
  permutation = randomness.generator(purpose).permutation(total)

  return np.sort(permutation[:size])
