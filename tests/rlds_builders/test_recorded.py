"""Every simulator still plays the first steps of a recorded expert episode, one a domain.

Usage: python tests/rlds_builders/test_recorded.py NAME ... records those domains anew, after an
intended change.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))  # run as a script

import numpy as np
import pytest

import rlds_builders
from gato_jax.domain import SimulatedDomain

_FOLDER = pathlib.Path(__file__).parent / "recorded"
_STEPS, _SEED = 8, 3
# Cheap tasks, where the first one is not.
_TASKS = {
  "atari": "breakout",
  "atari_extended": "frogger",
  "babyai": "GoToObj",
  "control_suite": "cartpole-swingup",
  "control_suite_pixels": "cartpole-swingup",
  "control_suite_random_large": "cartpole-swingup",
  "control_suite_random_small": "cartpole-swingup",
  "labyrinth": "hallway",
  "meta_world": "reach-v3",
  "modular_rl": "hopper-thigh",
  "sokoban": "boxes_1",
}
_ELSEWHERE = (
  "manipulation",
  "rgb_stacking",
)  # their own tests compare more, in episodes that take seconds to begin
_SIMULATED = [
  name
  for name, domain in rlds_builders.domains().items()
  if isinstance(domain, SimulatedDomain) and name not in _ELSEWHERE
]


def _task(name: str) -> str:
  return _TASKS.get(name, rlds_builders.get(name).tasks[0])


def _play(environment, act) -> dict[str, np.ndarray]:
  """Rewards [T], actions [T, ...] and observations "observation/KEY" [T + 1, ...].

  Only the last image is kept.
  """
  environment.seed(_SEED)
  timesteps, actions = [environment.reset()], []
  while len(actions) < _STEPS and not timesteps[-1].last():
    actions.append(act(timesteps[-1], len(actions)))
    timesteps.append(environment.step(actions[-1]))

  environment.close()
  played = {"actions": np.array(actions), "rewards": np.array([t.reward for t in timesteps[1:]])}

  for key in timesteps[0].observation:
    values = np.array([t.observation[key] for t in timesteps])
    values = values.astype(str) if values.dtype == object else values
    played[f"observation/{key}"] = values[-1:] if _is_picture(values) else values

  return played


def _is_picture(values: np.ndarray) -> bool:
  return values.dtype == np.uint8 and values.ndim == 4


def record(name: str) -> None:
  domain = rlds_builders.get(name)
  environment = domain.make_environment(_task(name))
  expert = domain.make_expert(environment, _task(name))

  def act(timestep, step):
    if step == 0:
      expert.reset(_SEED)
    return expert.act(timestep)

  _FOLDER.mkdir(exist_ok=True)
  np.savez_compressed(_FOLDER / f"{name}.npz", **_play(environment, act))


@pytest.mark.parametrize("name", _SIMULATED)
def test_the_recorded_actions_lead_where_they_led(name):
  path = _FOLDER / f"{name}.npz"
  assert path.exists(), (
    f"no recorded episode of {name}; run python tests/rlds_builders/test_recorded.py {name}"
  )

  with np.load(path) as recorded:
    before = dict(recorded)
  now = _play(
    rlds_builders.get(name).make_environment(_task(name)), lambda _, step: before["actions"][step]
  )

  assert set(now) == set(before)

  for key, value in before.items():
    if _is_picture(value):  # OpenGL's versions differ by shades
      assert np.abs(now[key].astype(float) - value).mean() < 2, key
    elif value.dtype.kind in "US":
      np.testing.assert_array_equal(now[key], value, err_msg=key)
    else:
      np.testing.assert_allclose(now[key], value, rtol=1e-4, atol=1e-4, err_msg=key)


if __name__ == "__main__":
  for domain_name in sys.argv[1:] or _SIMULATED:
    record(domain_name)
