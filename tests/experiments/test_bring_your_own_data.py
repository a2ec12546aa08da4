"""docs/bring_your_own_data.md works: its files are written into a copy and its commands run there."""

import followed_page
import pytest

from experiments.analysis.recorded import rows as recorded
from gato_jax.env import results
from rlds_builders.recordings import lerobot

PAGE = "bring_your_own_data.md"
# The page trains for four minutes.
SHORT = {"--config.train.minutes=4": "--config.train.minutes=0.5"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  root = tmp_path_factory.mktemp("copy")
  followed_page.copy(root)
  return root


def follow(root, heading):
  return followed_page.follow(root, followed_page.sections(PAGE)[heading], SHORT)


@pytest.mark.slow  # collects, trains and plays
def test_the_environment_is_played(root):
  said = follow(root, "A gymnasium environment")
  blocks = followed_page.sections(PAGE)["A gymnasium environment"]
  for line in next(text for _, language, text in blocks if language == "text").splitlines():
    assert line in said

  assert "ok   doom.basic: episodes: 2" in said
  rows = [row for row in results.read(root / "work/doom/results.jsonl") if row.actor == "gato"]
  assert len(rows) == 20
  assert list((root / "work/doom/videos").glob("doom.basic.*.gif"))
  assert (root / "work/doom/report/index.html").exists()


@pytest.mark.slow  # collects, trains and measures
def test_the_lerobot_dataset_is_measured(root):
  said = follow(root, "A LeRobot dataset")
  assert lerobot.LeRobotEpisodes(root / "work/sets/playroom.pick_up").splits["train"] > 50
  assert "ok   pick_up.playroom: episodes: " in said
  measured(root / "work/pick_up", "pick_up.playroom")


@pytest.mark.slow  # collects, trains and measures
def test_the_hdf5_file_is_measured(root):
  (root / "work/sets").mkdir(parents=True, exist_ok=True)
  said = follow(root, "An HDF5 file of robomimic")
  assert "ok   drawer.drawer: episodes: 60, kept: 60, for validation: 6" in said
  measured(root / "work/drawer", "drawer.drawer")


def measured(workdir, task):
  rows = list(results.read(workdir / recorded.ROWS, recorded.ActionErrorRow))
  assert rows and {row.task for row in rows} == {task}
  assert (workdir / f"recorded/{task}.mp4").exists()
  assert f"recorded/{task}.mp4" in (workdir / "report/index.html").read_text()
  assert (workdir / "view/index.html").exists()
