"""Wrote the small datasets beside it, with the formats' own packages: LeRobot's and Minari's.

They are too large to be installed for tests, so that their files are kept. In an environment of
its own (Python 3.12), as they were written on 29 November 2026:

pip install lerobot==0.4.4 minari==0.5.4 && python make_recordings.py lerobot_v3 minari
pip install lerobot==0.3.3 --no-deps && python make_recordings.py lerobot_v21
"""

import importlib
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent
EPISODES = (5, 3, 4)  # steps
TASKS = ("lift the cube", "open the drawer", "lift the cube")


def frame(episode: int, step: int) -> dict:
  """Returns what step `step` of an episode holds."""
  image = np.zeros((32, 48, 3), np.uint8)
  image[:, : 8 * (step + 1)] = (60 * episode + 40, 90, 200)

  return {
    "observation.state": np.float32([episode, step, 0.5]),
    "observation.images.top": image,
    "action": np.float32([episode / 10, step / 10]),
    "next.reward": np.float32([step]),
    "next.done": np.array([step == EPISODES[episode] - 1]),
  }


def lerobot(name: str) -> None:
  library = importlib.import_module("lerobot.datasets.lerobot_dataset")

  features = {
    "observation.state": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
    "observation.images.top": {
      "dtype": "video",
      "shape": (32, 48, 3),
      "names": ["height", "width", "channels"],
    },
    "action": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
    "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
    "next.done": {"dtype": "bool", "shape": (1,), "names": None},
  }
  dataset = library.LeRobotDataset.create(
    repo_id="gato/cubes", fps=10, features=features, root=HERE / name, use_videos=True
  )

  for episode, length in enumerate(EPISODES):
    for step in range(length):
      values = frame(episode, step)
      if name == "lerobot_v21":
        dataset.add_frame(values, task=TASKS[episode])
      else:
        dataset.add_frame(values | {"task": TASKS[episode]})
    dataset.save_episode()

  if hasattr(dataset, "finalize"):
    dataset.finalize()


def minari() -> None:
  gymnasium, library = (importlib.import_module(name) for name in ("gymnasium", "minari"))

  environment = library.DataCollector(gymnasium.make("Pendulum-v1", max_episode_steps=6))
  for seed in range(3):
    environment.action_space.seed(seed)
    environment.reset(seed=seed)
    done = False
    while not done:
      *_, terminated, truncated, _ = environment.step(environment.action_space.sample())
      done = terminated or truncated
  environment.create_dataset(dataset_id="gato/pendulum-v0", algorithm_name="random")
  environment.close()


if __name__ == "__main__":
  for chosen in sys.argv[1:]:
    minari() if chosen == "minari" else lerobot(chosen)
