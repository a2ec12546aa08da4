"""Plays hidden_goal by retrieval from the prompt, without a network (REGENT's baseline).

python -m benchmarks.prompt_retrieval --workdir=work/hidden_goal/prompted

In every step it takes the action of the prompt's step whose cell is nearest (Sridhar et al. 2024).
The prompts are those of the study hidden_goal.py: the same demonstrations for the same seeds, of
which it sees four steps spread over the episode, or with --steps=0 all of them.
"""

import argparse
import pathlib

import dm_env
import numpy as np

import rlds_builders
from gato_jax import randomness
from gato_jax.data import demonstrations
from gato_jax.data.prepared_format import group_id
from gato_jax.env import loop
from gato_jax.randomness import FIRST_EVALUATION_SEED
from gato_jax.tokens import layout

DOMAIN = "hidden_goal"


class Retrieval:
  """Acts as the nearest of the prompt's steps did."""

  def __init__(self, environment: dm_env.Environment, workdir: pathlib.Path, task: str, steps: int):
    self._environment = environment
    self._task = task
    self._steps = steps
    self._episodes = demonstrations.read(workdir, task)
    self._groups = np.array(demonstrations.read_groups(workdir, task))

  def reset(self, seed: int) -> None:
    """Draws the prompt of an episode, as gato_jax/agent/prompts.py does."""
    group = group_id(self._environment.episode_info()["group"])
    candidates = np.flatnonzero(self._groups == group)
    random = randomness.generator(f"prompt/{self._task}", seed)
    observation, action = self._episodes[candidates[random.integers(len(candidates))]]

    count = min(self._steps or len(action), len(action))
    shown = layout.spread_steps(len(action), count)
    self._cells = observation["cell"][shown]
    self._actions = action[shown]

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    distances = np.abs(self._cells - timestep.observation["cell"]).sum(axis=1)
    return self._actions[np.argmin(distances)]


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--workdir", type=pathlib.Path, required=True, help="run with demonstrations")
  parser.add_argument("--episodes", type=int, default=200, help="episodes a task")
  parser.add_argument("--steps", type=int, default=4, help="steps of a prompt; 0: all")
  arguments = parser.parse_args()

  domain = rlds_builders.get(DOMAIN)
  for task in domain.tasks:
    environment = domain.make_environment(task)
    actor = Retrieval(environment, arguments.workdir, f"{DOMAIN}.{task}", arguments.steps)
    seeds = range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + arguments.episodes)
    played = list(loop.run_episodes([environment], loop.PerSlot([actor]), seeds))

    returns = np.array([episode.episode_return for episode in played])
    error = returns.std(ddof=1) / np.sqrt(len(returns))
    success = np.mean([episode.success for episode in played])
    print(
      f"{DOMAIN}.{task}: return {returns.mean():.2f} +- {error:.2f} (standard error), "
      f"success {success:.1%}, {len(played)} episodes"
    )


if __name__ == "__main__":
  main()
