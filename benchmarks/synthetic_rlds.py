"""Real RLDS datasets of any episode length without a simulator.

The dummy domain's world, played at random.
"""

import contextlib
import dataclasses
import io
import os
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from gato_jax.domain import environment_task_spec
from gato_jax.env import logs, results
from gato_jax.task import flatten
from rlds_builders import dummy
from rlds_builders.base import logged_episodes, rlds_builder
from rlds_builders.dummy import environment as dummy_environment

TASK = "reach"

# Steps after which the world is reset; the episode goes on.
_REPLAY = 30


def build(data_dir: pathlib.Path, domain: str, episodes: int, length: int) -> None:
  """Writes <data_dir>/tfds/<domain>/reach unless it is there.

  `episodes` of `length` steps each, in array_record.
  """
  if (data_dir / "tfds" / domain / TASK / rlds_builder.VERSION / "dataset_info.json").exists():
    return
  environment = dummy_environment.make(TASK)
  task_domain = dataclasses.replace(dummy.DOMAIN, name=domain)
  spec = environment_task_spec(task_domain, TASK, environment)
  logs.write_spec(logs.task_directory(data_dir / "raw", domain, TASK), spec)

  class Builder(rlds_builder.EpisodeBuilder, skip_registration=True):
    """Builder that generates episodes instead of reading logs."""

    name = domain
    DOMAIN = task_domain
    BUILDER_CONFIGS = rlds_builder.configs(dummy.DOMAIN)

    def _split_generators(self, dl_manager):
      del dl_manager
      return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator:
      for index in range(episodes):
        columns = _play(environment, length, seed=index)
        total = float(columns["reward"].sum())
        row = results.Row(spec.name, "expert", index, total, length, False, 0.0)
        yield index, logged_episodes.record(index, row, columns, self.DOMAIN.agent_id)

  # The builder reads the specification that was written above.
  os.environ["GATO_RAW_DIR"] = str(data_dir / "raw")
  tfds.disable_progress_bar()
  # TFDS prints.
  with contextlib.redirect_stdout(io.StringIO()):
    Builder(config=TASK, data_dir=data_dir / "tfds").download_and_prepare()


def _play(environment: dummy_environment.Reach, length: int, seed: int) -> dict[str, np.ndarray]:
  """Returns columns of length + 1 steps, as gato_jax.env.logs gives them."""
  random = np.random.default_rng(seed)
  environment.seed(seed)
  observations, actions, rewards = [], [], []
  for step in range(length + 1):
    if step % _REPLAY == 0:
      timestep = environment.reset()
    action = random.uniform(-dummy_environment.STEP_SIZE, dummy_environment.STEP_SIZE, 2).astype(
      np.float32
    )
    observations.append(flatten(timestep.observation))
    actions.append(action)
    timestep = environment.step(action)
    rewards.append(timestep.reward or 0.0)

  columns = {
    f"observation/{key}": np.stack([o[key] for o in observations]) for key in observations[0]
  }

  # The last step has an observation and nothing else.
  rewards, discounts = np.array(rewards, np.float32), np.ones(length + 1, np.float32)
  rewards[-1] = discounts[-1] = 0.0
  actions = np.stack(actions)

  return {
    **columns,
    "action": actions,
    "expert_action": actions,
    "reward": rewards,
    "discount": discounts,
  }
