"""experiments.play: a page that grows, a window, and what cannot be played."""

import json
import os

import commands
import jax
import numpy as np
import pytest

import rlds_builders
from experiments import play
from experiments.analysis import window
from experiments.configs import dummy
from gato_jax import agent
from gato_jax.data import demonstrations
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.task import flatten
from gato_jax.train import checkpoint, export


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small_workdir):
  """Exported weights of a network that knows both dummy tasks."""
  params, meta, _ = checkpoint.load_for_acting(small_workdir / "checkpoints")
  meta = meta | {"config": json.loads(dummy.get_config().to_json()), "episodes": {}}
  shown = {task: demonstrations.read(small_workdir, task) for task in meta["specs"]}

  path = tmp_path_factory.mktemp("exported") / "small"
  export.write(path, jax.device_get(params), meta, precision="float32", episodes=shown)
  return path


def run(folder, *arguments, **variables):
  # A person's shell has neither of these unless there is a display.
  environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
  return commands.run(
    "experiments.play", f"--checkpoint={folder}", *arguments, env=environment | variables
  )


def test_a_page_with_a_video_of_each_task_and_nothing_is_played_twice(folder, tmp_path):
  arguments = (f"--out={tmp_path}", "--task=dummy.*", "--episodes=2")
  done = run(folder, *arguments)

  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[-1] == f"play: {tmp_path}/report/index.html"
  assert f"the first videos are in {tmp_path}/report/index.html" in done.stderr

  page = (tmp_path / "report/index.html").read_text()
  for task in ("dummy.reach", "dummy.reach_discrete"):
    assert list((tmp_path / "videos").glob(f"{task}.*.gif")) and task in page

  rows = (tmp_path / "results.jsonl").read_bytes()
  assert len(list(results.read(tmp_path / "results.jsonl"))) == 4
  assert run(folder, *arguments).returncode == 0
  assert (tmp_path / "results.jsonl").read_bytes() == rows


def test_a_task_of_each_domain_is_drawn_where_none_is_named(folder, tmp_path):
  done = run(folder, f"--out={tmp_path}", "--episodes=1")

  assert done.returncode == 0, done.stderr
  assert len({row.task for row in results.read(tmp_path / "results.jsonl")}) == 1


@pytest.mark.slow  # pygame and a network of its own; the page is what most people see
def test_a_window_shows_the_scene_and_the_attention(folder):
  arguments = ("--task=dummy.reach", "--show", "--attention", "--episodes=1")
  done = run(folder, *arguments, SDL_VIDEODRIVER="dummy")

  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith("play: seed 1000000000: return ")


@pytest.mark.parametrize(
  "arguments, said",
  [
    (["--task=dummy.reach", "--show"], "--show needs a display"),
    (["--show"], "--show plays one task: name it"),
    (["--attention"], "--attention lights up the image in a window"),
    (["--task=babyai.GoTo"], "was not trained on --task=babyai.GoTo; it knows tasks of dummy"),
    (["--task=dummy.reech"], "did you mean 'reach'?"),
  ],
)
def test_a_mistake_is_one_line(folder, arguments, said):
  done = run(folder, *arguments)
  assert done.returncode == 1 and said in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_the_packages_that_a_domain_lacks_are_named(tmp_path, monkeypatch):
  monkeypatch.setattr(rlds_builders, "scores_path", lambda domain: tmp_path / "scores.json")
  assert play.missing_packages("new") == []

  (tmp_path / "requirements.txt").write_text(
    "# a comment\nnumpy==2.3.5  # there\n-e .\nno-such-simulator==1.0  # not there\n"
  )
  assert play.missing_packages("new") == ["no-such-simulator==1.0"]


def test_attention_lights_up_the_image_that_the_network_sees(folder):
  domain = rlds_builders.get("dummy")
  layout = agent.Policy(folder).layout("dummy.reach")
  environment = domain.make_environment("reach")
  environment.seed(1)
  observation = flatten(environment.reset().observation)

  overlay = window.AttentionOverlay(folder, layout)
  (image,) = [field for field in layout.observation if field.kind == window.vocabulary.Kind.PATCH]
  seen = observation[image.key]
  lit = overlay(observation)

  # The patch with the largest weight keeps its colours, no other is brighter than it was.
  assert lit.shape == seen.shape and lit.dtype == np.uint8
  assert np.all(lit <= seen)
  side = window.vocabulary.PATCH_SIDE
  tiles = [
    np.array_equal(lit[y : y + side, x : x + side], seen[y : y + side, x : x + side])
    for y in range(0, seen.shape[0], side)
    for x in range(0, seen.shape[1], side)
  ]
  assert 1 <= sum(tiles) < len(tiles)


def test_a_window_needs_a_display(monkeypatch):
  for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
    monkeypatch.delenv(name, raising=False)
  with pytest.raises(GatoError, match="needs a display"):
    window.Window(8)
