"""experiments.convert: our datasets as LeRobot's, resumed, refused in one line."""

import commands
import pytest

from rlds_builders.recordings import lerobot

DUMMY = "--config=experiments/configs/dummy.py"


@pytest.fixture
def run(dummy_tfds, tmp_path):
  def run(*arguments):
    data = f"--config.data_dir={dummy_tfds.parent}"
    return commands.run("experiments.convert", DUMMY, data, f"--out={tmp_path}/out", *arguments)

  return run


def test_datasets_are_written_once(run, tmp_path):
  first = run()
  assert first.returncode == 0, first.stderr
  assert "convert: 2 of 2 datasets written" in first.stdout

  reader = lerobot.LeRobotEpisodes(tmp_path / "out/dummy.reach")
  assert reader.splits == {"train": 30}

  # One that was interrupted has no info.json, and is written again; the other one is kept.
  (tmp_path / "out/dummy.reach/meta/info.json").unlink()
  again = run()
  assert "convert: 1 of 2 datasets written" in again.stdout, again.stderr


@pytest.mark.parametrize(
  ("arguments", "said"),
  [
    (["--task=dummy.rech"], "did you mean 'reach'"),
    (["--config.data_dir=/nowhere"], "run python -m experiments.build"),
  ],
)
def test_a_mistake_is_one_line(run, arguments, said):
  done = run(*arguments)
  assert done.returncode == 1 and said in done.stderr.splitlines()[-1], done.stderr
