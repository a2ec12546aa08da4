"""Linear gaits found by search, around which planners plan.

gaits.json (2 kB) is rebuilt in about two minutes by:

  python -m rlds_builders.worlds.suite.experts.gaits
"""

import json
import pathlib

import mujoco
import numpy as np

from rlds_builders.planners import rollouts, search
from rlds_builders.worlds.radians import wrapped
from rlds_builders.worlds.suite import environment as suite_environment
from rlds_builders.worlds.suite.experts import rewards
from rlds_builders.worlds.suite.experts.actors import Law

_PATH = pathlib.Path(__file__).with_name("gaits.json")
_STARTS = 32  # states from which the search's rollouts begin
_MAX_PITCH = 0.9  # radians; beyond, the cheetah has tumbled and the gait is of no use


def cheetah(model: mujoco.MjModel) -> Law:
  """Returns a gait that runs about 6 m/s; planning around it adds 3 m/s."""
  del model  # the gait is good for every body

  numbers = json.loads(_PATH.read_text())["cheetah"]
  gait = search.Linear(**{name: np.array(value) for name, value in numbers.items()})

  def law(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    if pitched(qpos[2]) > _MAX_PITCH:
      return np.zeros(len(gait.weights))

    return gait(_cheetah_features(qpos, qvel))

  return law


def pitched(angle: np.ndarray) -> np.ndarray:
  """Returns the angle from level, in radians between 0 and pi."""
  return np.abs(wrapped(angle))


def _cheetah_features(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
  # Without the distance run.
  return np.concatenate([qpos[..., 1:], qvel], axis=-1)


def find_cheetah(settings: search.SearchSettings) -> search.Linear:
  """Searches for a gait from weights of 0; prints the score every 50 iterations."""
  environment = suite_environment.make("cheetah-run")
  model = environment.physics.model.ptr

  starts = []
  for seed in range(1000, 1000 + _STARTS):
    environment.seed(seed)
    environment.reset()
    starts.append(rollouts.full_state(model, environment.physics.data.ptr))

  gaits = search.search(
    model,
    np.array(starts),
    features=_cheetah_features,
    score=rewards.cheetah,
    settings=settings,
    substeps=environment.substeps,
  )
  for i in range(1, settings.iterations + 1):
    gait, score = next(gaits)
    if i % 50 == 0:
      print(f"iteration {i}: mean reward {score:.3f}", flush=True)

  return gait


def write(gait: search.Linear) -> None:
  """Writes the cheetah's gait to gaits.json."""
  numbers = {k: np.round(getattr(gait, k), 4).tolist() for k in ("weights", "mean", "std")}
  _PATH.write_text(json.dumps({"cheetah": numbers}) + "\n")


if __name__ == "__main__":
  write(find_cheetah(search.SearchSettings()))
