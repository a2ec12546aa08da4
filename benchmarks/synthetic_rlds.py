"""Real RLDS datasets of any episode length without a simulator: the dummy domain's world, played at random."""

import contextlib
import dataclasses
import io
import os
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from gato_jax import logs, results, specs
from rlds_builders import _builder, dummy
from rlds_builders.dummy import environment as dummy_environment

TASK = "reach"
_REPLAY = 30  # steps after which the world is reset; the episode goes on


def build(data_dir: pathlib.Path, domain: str, episodes: int, length: int) -> None:
  """Writes <data_dir>/tfds/<domain>/reach unless it is there: `episodes` of `length` steps each, in array_record."""
  if (data_dir / "tfds" / domain / TASK / _builder.VERSION / "dataset_info.json").exists():
    return
  environment = dummy_environment.make(TASK)
  task_domain = dataclasses.replace(dummy.DOMAIN, name=domain)
  spec = specs.environment_task_spec(task_domain, TASK, environment)
  logs.write_spec(logs.task_directory(data_dir / "raw", domain, TASK), spec)

  class Builder(_builder.EpisodeBuilder, skip_registration=True):
    """Generates instead of reading logs."""

    name = domain
    DOMAIN = task_domain
    BUILDER_CONFIGS = _builder.configs(dummy.DOMAIN)

    def _split_generators(self, dl_manager):
      del dl_manager
      return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator:
      for index in range(episodes):
        columns = _play(environment, length, seed=index)
        total = float(columns["reward"].sum())
        row = results.Row(spec.name, "expert", index, total, length, False, 0.0)
        yield index, _builder.example(index, row, columns, self.DOMAIN.agent_id)

  os.environ["GATO_RAW_DIR"] = str(data_dir / "raw")
  tfds.disable_progress_bar()
  with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints
    Builder(config=TASK, data_dir=data_dir / "tfds").download_and_prepare()


def _play(environment: dummy_environment.Reach, length: int, seed: int) -> dict[str, np.ndarray]:
  """Columns of length + 1 steps, as gato_jax.logs gives them."""
  random = np.random.default_rng(seed)
  environment.seed(seed)
  observations, actions, rewards = [], [], []
  for step in range(length + 1):
    if step % _REPLAY == 0:
      timestep = environment.reset()
    action = random.uniform(-dummy_environment.STEP_SIZE, dummy_environment.STEP_SIZE, 2).astype(np.float32)
    observations.append(specs.flatten(timestep.observation))
    actions.append(action)
    timestep = environment.step(action)
    rewards.append(timestep.reward or 0.0)
  columns = {f"observation/{key}": np.stack([o[key] for o in observations]) for key in observations[0]}
  rewards, discounts = np.array(rewards, np.float32), np.ones(length + 1, np.float32)
  rewards[-1] = discounts[-1] = 0.0
  actions = np.stack(actions)
  return {**columns, "action": actions, "expert_action": actions, "reward": rewards, "discount": discounts}
