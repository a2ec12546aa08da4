"""A domain for tests of experiments.check: dummy's environments with faults of new domains.

The task's name gives the fault; `fine`, `shared` and `pair` are correct.
"""

import dm_env
import numpy as np
from dm_env import specs as dm_specs

from gato_jax.domain import SimulatedDomain
from gato_jax.env import loop
from rlds_builders.dummy import environment

DOMAIN = SimulatedDomain(
  name="faulty",
  tasks=(
    "fine",
    "shared",
    "pair",
    "wrong_field",
    "wrong_bounds",
    "image_84",
    "no_bounds",
    "fresh",
    "raises",
    "no_text",
  ),
  weight=1.0,
  environment="faulty_domain:make",
  expert="faulty_domain:expert",
  agent_id="random-v1",
  max_text_tokens={"instruction": 12},
)


class Faulty(environment.Reach):
  def __init__(self, task: str):
    super().__init__(discrete=False)
    self._task = task
    self._needs_reset = task != "fresh"

  def observation_spec(self):
    spec = super().observation_spec()
    if self._task == "wrong_field":
      spec["odometer"] = spec.pop("clock")
    if self._task == "wrong_bounds":
      spec["clock"] = dm_specs.BoundedArray((1,), np.int32, 5, 9, name="clock")
    if self._task == "image_84":
      spec["camera"] = dm_specs.BoundedArray((84, 84, 3), np.uint8, 0, 255, name="camera")
    if self._task == "no_text":
      spec["answer"] = dm_specs.StringArray((), name="answer")
    return spec

  def action_spec(self):
    if self._task == "pair":
      return dm_specs.BoundedArray((2,), np.int32, 0, [14, 2], name="action")
    if self._task == "no_bounds":
      return dm_specs.Array((2,), np.float32, name="action")
    return super().action_spec()

  def step(self, action) -> dm_env.TimeStep:
    if self._task == "raises":
      raise ValueError("the simulator\nis broken")
    return super().step(np.asarray(action) / 100 if self._task == "pair" else action)


class Expert(loop.RandomExpert):
  """A random expert: its returns play no part here."""


def make(task: str) -> Faulty:
  return Faulty(task)


def expert(made: Faulty, task: str) -> Expert:
  return Expert(made.action_spec(), f"faulty.{task}")
