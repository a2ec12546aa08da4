"""Evaluates in a process that tests may kill.

Usage: python evaluate_process.py WORKDIR EPISODES TASK...
"""

import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any

import broken_domain
import numpy as np

from gato_jax.agent import ActConfig
from gato_jax.errors import GatoError
from gato_jax.evaluate import EvaluateConfig, evaluation, simulator_pool

STEP = 7


class Wanderer:
  """An engine without a network, whose actions depend on the seed and on the step."""

  def __init__(self):
    self.batches: list[set[str]] = []
    self._episodes: dict[int, list] = {}

  def compile(self, on_shape=lambda text: None) -> None:
    on_shape("nothing")
    time.sleep(0.3)  # longer than the budget in a test, which begins behind it

  def pack(self, task: str, observation: Mapping[str, Any]) -> Mapping[str, Any]:
    if not np.all(np.isfinite(observation["body/velocity"])):
      raise GatoError(f"{task}: observation 'body/velocity' is not finite")
    return observation

  def start(self, slot: int, task: str, seed: int) -> None:
    self._episodes[slot] = [task, seed, 0]

  def act(self, observations: Mapping[int, Any]) -> dict[int, np.ndarray]:
    self.batches.append({self._episodes[slot][0] for slot in observations})
    actions = {}

    for slot, observation in observations.items():
      _, seed, step = self._episodes[slot]
      assert observation["clock"][0] == step, "an observation of another episode"
      actions[slot] = np.random.default_rng([seed, step]).uniform(-0.1, 0.1, 2).astype(np.float32)
      self._episodes[slot][2] += 1

    return actions


class Policy:
  """The policy (gato_jax.agent.Policy) of a checkpoint of a Wanderer."""

  def __init__(self, step: int = STEP, total: int = STEP):
    self.step, self.meta = step, {"total_steps": total}
    self.engines: list[Wanderer] = []

  def chunk_steps(self, act) -> int:
    return 0

  def return_target(self, task: str, act) -> None:
    """Returns None, as a network that was trained without returns does."""

  def check_environment(self, spec) -> None:
    assert spec.action.shape == (2,)

  def engine(self, tasks, slots, act) -> Wanderer:
    del tasks, slots, act
    self.engines.append(Wanderer())
    return self.engines[-1]


def evaluate(
  workdir: pathlib.Path, tasks: list[str], config: EvaluateConfig, policy=None
) -> evaluation.Evaluation:
  """Plays missing episodes."""
  with simulator_pool.Simulators(config, workdir / "simulators.log") as simulators:
    run = evaluation.Evaluation(
      [(broken_domain.DOMAIN, task) for task in tasks], workdir, config, simulators
    )
    run.play(run.missing(STEP), "evaluate", policy or Policy(), ActConfig())
    return run


if __name__ == "__main__":
  evaluate(
    pathlib.Path(sys.argv[1]), sys.argv[3:], EvaluateConfig(episodes=int(sys.argv[2]), workers=3)
  )
