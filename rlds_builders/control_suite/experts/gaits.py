"""Linear gaits found by search, around which planners plan.

gaits.json (2 kB) is rebuilt in about two minutes by: python -m rlds_builders.control_suite.experts.gaits
"""

import json
import pathlib

import mujoco
import numpy as np

from rlds_builders._angles import wrapped
from rlds_builders.control_suite import environment as control_environment
from rlds_builders.control_suite.experts import rewards
from rlds_builders.control_suite.experts.actors import Law
from rlds_builders.planners import rollouts, search

_PATH = pathlib.Path(__file__).with_name("gaits.json")
_STARTS = 32
_FALLEN = 0.9  # radians of pitch from which on the gait is of no use


def _cheetah_features(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
  return np.concatenate([qpos[..., 1:], qvel], axis=-1)


def cheetah(model: mujoco.MjModel) -> Law:
  """Runs about 6 m/s; planning around it adds 3 m/s."""
  del model
  gait = search.Linear(**{k: np.array(v) for k, v in json.loads(_PATH.read_text())["cheetah"].items()})

  def law(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    if pitched(qpos[2]) > _FALLEN:
      return np.zeros(len(gait.weights))
    return gait(_cheetah_features(qpos, qvel))

  return law


def pitched(angle: np.ndarray) -> np.ndarray:
  """Radians between 0 and pi from level."""
  return np.abs(wrapped(angle))


def find_cheetah(settings: search.SearchSettings) -> search.Linear:
  """Searches from weights of 0; prints the score every 50 iterations."""
  environment = control_environment.make("cheetah-run")
  model = environment.physics.model.ptr
  starts = []
  for seed in range(1000, 1000 + _STARTS):
    environment.seed(seed)
    environment.reset()
    starts.append(rollouts.full_state(model, environment.physics.data.ptr))
  found = search.search(model, np.array(starts), _cheetah_features, rewards.cheetah, settings, environment.substeps)
  for i in range(1, settings.iterations + 1):
    gait, score = next(found)
    if i % 50 == 0:
      print(f"iteration {i}: mean reward {score:.3f}", flush=True)
  return gait


def write(gait: search.Linear) -> None:
  numbers = {k: np.round(getattr(gait, k), 4).tolist() for k in ("weights", "mean", "std")}
  _PATH.write_text(json.dumps({"cheetah": numbers}) + "\n")


if __name__ == "__main__":
  write(find_cheetah(search.SearchSettings()))
