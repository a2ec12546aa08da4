"""The adapter of DM Lab, which is not installed here."""

import sys
import types

import numpy as np
import pytest

from gato_jax.errors import GatoError
from rlds_builders import labyrinth
from rlds_builders.labyrinth import dm_lab, environment


class Lab:
  """The interface of deepmind_lab.Lab, without a simulator; images show the number of steps."""

  def __init__(self, level, observations, config):
    self.level, self.names, self.config = level, observations, config
    self.actions, self.closed = [], False

  def reset(self, episode=-1, seed=None):
    self.seed, self.actions = seed, []

  def is_running(self):
    return len(self.actions) < 3

  def observations(self):
    assert self.is_running()  # the real one raises

    shape = int(self.config["height"]), int(self.config["width"]), 3
    values = {
      "RGB_INTERLEAVED": np.full(shape, 50 * len(self.actions), np.uint8),
      "INSTR": "blue key",
    }
    return {name: values[name] for name in self.names}

  def step(self, action, num_steps=1):
    assert action.dtype == np.intc and action.shape == (7,) and num_steps == 4
    self.actions.append(action)
    return 2.0

  def close(self):
    self.closed = True


def test_dm_labs_adapter_keeps_to_the_interface_of_the_real_one(monkeypatch):
  monkeypatch.setitem(sys.modules, "deepmind_lab", types.SimpleNamespace(Lab=Lab))
  monkeypatch.setattr(labyrinth, "DM_LAB_INSTALLED", True)
  made = environment.make("dmlab_language_select_described_object")

  assert made._lab.level == "contributed/dmlab30/language_select_described_object"

  made.seed(11)
  timesteps = [made.reset()]

  assert made._lab.seed == 11

  while not timesteps[-1].last():
    timesteps.append(made.step(np.int32(7)))

  assert [t.reward for t in timesteps[1:]] == [2.0] * 3 and timesteps[-1].discount == 0
  assert [int(t.observation["image"].mean()) for t in timesteps] == [
    0,
    50,
    100,
    100,  # The end shows nothing new.
  ]
  np.testing.assert_array_equal(made._lab.actions[0], [60, 0, 0, 0, 0, 0, 0])

  for key, spec in made.observation_spec().items():
    spec.validate(timesteps[0].observation[key])

  assert made.action_spec().num_values == 15 and made.control_timestep() == pytest.approx(1 / 15)

  made.close()

  assert made._lab.closed
  assert environment.make("dmlab_seekavoid_arena_01")._lab.level == "seekavoid_arena_01"


@pytest.mark.skipif(labyrinth.DM_LAB_INSTALLED, reason="deepmind_lab is installed")
def test_without_dm_lab_there_is_one_clear_line():
  with pytest.raises(
    GatoError, match="^labyrinth.dmlab_rooms_watermaze: deepmind_lab is not importable; [^\n]*$"
  ):
    environment.make("dmlab_rooms_watermaze")
  assert not any(task.startswith("dmlab_") for task in labyrinth.DOMAIN.tasks)
  assert len(dm_lab.ACTIONS) == 15
