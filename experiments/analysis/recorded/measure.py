"""Measures the actions that a checkpoint would choose along recorded episodes it did not train on.

Each measured step is answered by the engine that acts everywhere else. Its KV cache is emptied,
reads the prompt and the recorded steps before this one, observations and actions, and then comes
the recorded observation. Where the prompt and these steps fit into the cache, this is what acting
sees; of longer histories it is the last whole steps that fit.
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments.analysis.recorded import history, rows
from gato_jax import progress, randomness
from gato_jax.data import prepared, prepared_format, splits
from gato_jax.data.mixture import MixtureConfig
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.evaluate.videos import DEFAULT_FPS
from gato_jax.storage import files
from gato_jax.task import spec_difference

_FILMED_STEPS = 200  # of the episode in a video
_SLOTS = 16  # steps that are acted on in one batch
_TRAINING_EPISODES = 1000  # read for the mean action


def run(
  policy: Any,
  act: Any,
  tfds_dir: pathlib.Path,
  tasks: list[str],
  config: MixtureConfig,
  workdir: pathlib.Path,
  episodes: int,
  steps: int,
  film: Callable[..., None] | None = None,
) -> int:
  """Measures the episodes that have no row yet in <workdir>/actions.jsonl.

  A video of each task's first one, predicted beside recorded actions, is written into
  <workdir>/recorded by `film`.

  Args:
    policy: An agent.Policy.
    act: An agent.ActConfig.
    tfds_dir: Directory of the datasets.
    tasks: Names "domain.task" of recorded tasks.
    config: The mixture; its validation_every decides which episodes never trained.
    workdir: Directory of the rows.
    episodes: Number of episodes of each task, drawn from its validation split.
    steps: Number of steps of each episode, drawn. Both draws are the same every time.
    film: Writes a video (report/recorded_video.py); None for no videos.

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
    path = workdir / rows.VIDEOS / f"{task}.mp4"
    is_filmed = film is None or _filmed_step(path) == policy.step
    if not missing and is_filmed:
      continue

    follower = Follower(policy, act, task=task, data=data)
    if film is not None and not is_filmed:
      _film(film, follower, data, int(chosen[0]), path, step=policy.step)
    constant = _constant_action(data, np.setdiff1d(data.kept, validation))

    for episode in progress.Bar(missing, desc=task, unit="episode"):
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


def _filmed_step(path: pathlib.Path) -> int | None:
  """Returns the training step of the checkpoint in a video; None where there is no video."""
  facts = path.with_suffix(".json")
  if not path.exists() or not facts.exists():
    return None
  return files.read_json(facts, "delete it and measure again")["step"]


def _film(
  film: Callable[..., None],
  follower: "Follower",
  data: prepared.PreparedEpisodes,
  episode: int,
  path: pathlib.Path,
  step: int,
) -> None:
  """Writes a video of the first steps of an episode, predicted beside recorded actions."""
  observation, action = data.window(episode, 0, int(data.lengths[episode]))
  shown = np.arange(min(len(action), _FILMED_STEPS))
  predicted = follower.actions(episode, observation, action=action, at=shown)

  film(
    path,
    [column[shown] for column in observation.values() if column.ndim == 4],
    action[shown].reshape(len(shown), -1),
    predicted.reshape(len(shown), -1),
    facts={"step": step, "episode": episode},
    fps=1 / data.spec.control_timestep if data.spec.control_timestep else DEFAULT_FPS,
  )


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

    self._history = history.History(
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
