"""The report: scores against numbers computed by hand, intervals, bad input, the page's files."""

import dataclasses
import io
import json

import browser
import numpy as np
import pytest
import rich.console
from PIL import Image
from score_rows import row

from experiments.analysis import run_metrics
from experiments.analysis.report import drawing, figures, page, strip, table
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.evaluate import scores, videos

# Task -> (random, expert, agent) mean return, spread, length, whether it has a success flag.
TASKS = {
  "control_suite.cartpole-swingup": (28, 860, 690, 60, 1000, False),
  "control_suite.cheetah-run": (6, 560, 250, 40, 1000, False),
  "control_suite.reacher-easy": (60, 970, 900, 150, 1000, False),
  "control_suite.walker-walk": (45, 960, 180, 50, 1000, False),
  "meta_world.button-press-v3": (120, 3500, 3450, 200, 500, True),
  "meta_world.door-open-v3": (210, 4400, 4150, 250, 500, True),
  "meta_world.drawer-close-v3": (800, 4200, 4390, 120, 500, True),
  "meta_world.reach-v3": (550, 4700, 3300, 900, 500, True),
  "babyai.GoToRedBallGrey": (0.1, 0.93, 0.9, 0.1, 64, True),
  "babyai.PickupLoc": (0.05, 0.91, 0.55, 0.3, 64, True),
  "babyai.PutNextLocal": (0.0, 0.85, 0.12, 0.2, 128, True),
  "sokoban.easy": (0.0, 1.0, 1.0, 0.0, 60, True),
  "sokoban.boxoban": (-2.0, 10.0, 3.5, 5.0, 120, True),
}


def make_rows(episodes=20, step=6000):
  random = np.random.default_rng(7)
  rows = []

  for task, (low, high, mean, spread, length, has_success) in TASKS.items():
    for actor, actor_mean, count in (
      ("random", low, 20),
      ("expert", high, 100),
      ("gato", mean, episodes),
    ):
      for seed in range(count):
        scale = spread if actor == "gato" else 0.2 * spread
        value = float(random.normal(actor_mean, scale))
        success = value > (low + high) / 2 if has_success else None
        rows.append(
          results.Row(
            task, actor, seed, value, length, success, 1.0, step if actor == "gato" else 0
          )
        )

  return rows


def test_table_ends_with_the_bar():
  rows = make_rows()
  out = io.StringIO()
  made = scores.task_scores(rows)
  table.show(
    made,
    scores.unplayed([*rows, row("random", 0, 0.0, "dmlab.x")], made),
    rich.console.Console(file=out, width=140),
  )
  lines = out.getvalue().strip().splitlines()

  assert lines[-1] == "10 of 13 tasks at or above 50 % of the expert (paper: 450 of 604)"

  drawer = next(line for line in lines if "drawer-close" in line)

  assert "*" in drawer and "[" in drawer
  assert "not played at this checkpoint: dmlab.x" in out.getvalue()


def write_run(folder):
  """Writes a finished run's files, of the shape and size of a real one."""
  results.append(folder / "results.jsonl", make_rows())
  domains = {"control_suite": 2.3, "meta_world": 2.0, "babyai": 0.4, "sokoban": 0.5, "text": 5.0}
  random = np.random.default_rng(5)

  with (folder / "metrics.jsonl").open("w") as f:
    for step in range(50, 6001, 50):
      losses = {
        f"loss/{d}": floor + 5 * step**-0.4 + random.normal(0, 0.05) for d, floor in domains.items()
      }
      entry = {
        "step": step,
        "loss": float(np.mean(list(losses.values()))),
        **losses,
        "loss/babyai.PickupLoc": 1.0,
      }
      f.write(json.dumps({**entry, "tokens": step * 8192, "seconds": step * 0.3}) + "\n")

  for task in (
    "control_suite.cartpole-swingup",
    "meta_world.reach-v3",
    "babyai.PickupLoc",
    "sokoban.easy",
  ):
    frames = [np.full((180, 240, 3), 235, np.uint8) for _ in range(250)]
    for t, frame in enumerate(frames):
      frame[60:90, t % 210 : t % 210 + 30] = (0, 114, 178)
    shown = results.Row(task, "gato", 3, 12.5, 250, t > 0, 1.0, 6000)
    scored = dataclasses.replace(shown, episode_return=11.0 if task == "sokoban.easy" else 12.5)
    videos.write_rollout(folder / "videos", "best", frames, 50, shown, scored)


def test_page(tmp_path):
  write_run(tmp_path)
  facts = {
    "parameters": 3_200_000,
    "tokens": 49_152_000,
    "minutes of training": 30.0,
    "config": "demo <tiny>",
  }
  facts |= {"machine": "2 cores", "commands": ["make demo", "python -m experiments.report"]}
  paths = (tmp_path / "results.jsonl", tmp_path / "metrics.jsonl", tmp_path / "videos")
  path, made = page.write(tmp_path / "report", *paths, facts)
  html = path.read_text()
  browser.assert_readable(path)
  browser.assert_readable(path, dark=True)

  assert path == tmp_path / "report" / "index.html" and len(made) == 13

  for task in TASKS:
    assert task in html

  assert html.count('class="above"') == sum(s.score > 100 for s in made) > 0

  for text in (
    "10 of 13",
    "450 of 604",
    "3.2M",
    "make demo",
    "demo &lt;tiny&gt;",
    "21 of 30",
    "return 12.5",
    ", best",
    "seed 3",
  ):
    assert text in html, text

  assert html.count("data:image/png;base64,") == 4

  for name in ("figure5.png", "tasks.png", "learning_curves.png"):
    image = np.asarray(Image.open(tmp_path / "report" / name).convert("RGB"))
    assert image.shape[0] > 300 and image.std() > 10  # something is drawn

  assert (
    html.count("the scored episode returned 11") == html.count("played again for this video") == 1
  )
  assert 'src="videos/control_suite.cartpole-swingup.best.gif"' in html
  assert (tmp_path / "report/videos/sokoban.easy.best.gif").stat().st_size < 200_000

  # One image of each domain with a video, side by side.
  with Image.open(tmp_path / "report/strip.png") as image:
    assert image.size == (4 * strip.SIDE + 3 * strip.GAP, strip.SIDE)
  assert "An image of each domain" in html


def test_page_without_metrics_or_videos(tmp_path):
  results.append(tmp_path / "results.jsonl", make_rows(3))
  path, _ = page.write(
    tmp_path / "r", tmp_path / "results.jsonl", tmp_path / "none", tmp_path / "no", {}
  )
  assert "Learning curves" not in path.read_text() and "Rollouts" not in path.read_text()


def test_figure5_counts(tmp_path, monkeypatch):
  drawn = {}
  monkeypatch.setattr(drawing, "save", lambda figure, path: drawn.update(figure=figure))
  made = [
    scores.TaskScore(t, s, 0, 0, s, 0, 100, 1, None, None, resampled=np.full(10, s))
    for t, s in [("a.1", 50), ("a.2", 90), ("b.1", 20)]
  ]
  figures.figure5(made, tmp_path / "x.png", drawing.styles("a", "b"))
  tops = [c.get_paths()[0].vertices for c in drawn["figure"].axes[0].collections]
  at = lambda vertices, x: vertices[np.abs(vertices[:, 0] - x) < 0.01][:, 1].max()  # noqa: E731

  assert [at(tops[-1], x) for x in (0, 20, 50, 89, 100)] == [3, 3, 2, 1, 0]

  edges = [line for line in drawn["figure"].axes[0].lines if len(line.get_xdata()) > 2]

  assert [[line.get_ydata()[10 * x] for x in (0, 20, 50, 89, 100)] for line in edges] == 2 * [
    [3, 3, 2, 1, 0]
  ]


def test_metrics_survive_a_kill_and_a_resume(tmp_path):
  path = tmp_path / "m.jsonl"
  path.write_text(
    '{"step": 1, "loss": 3}\n{"step": 2, "loss": 9}\n{"step": 2, "loss": 2}\n{"step": 3, "lo'
  )

  assert [m["loss"] for m in run_metrics.read(path)] == [3, 2]

  path.write_text('{"step": 1, "lo\n{"step": 2, "loss": 2}\n')

  with pytest.raises(GatoError, match=r"m.jsonl:1"):
    run_metrics.read(path)


def test_gif_is_small_subsampled_and_keeps_the_last_frame(tmp_path):
  frames = [np.full((200, 300, 3), 10, np.uint8) for _ in range(250)] + [
    np.full((200, 300, 3), 250, np.uint8)
  ]
  for i, frame in enumerate(frames):
    frame[i % 200, :, 0] = 255  # no two frames alike: identical ones are merged by PIL
  videos.write_gif(frames, tmp_path / "x.gif", fps=25)
  image = Image.open(tmp_path / "x.gif")

  assert image.size == (128, 85) and 60 <= image.n_frames <= videos.MAX_FRAMES
  assert image.info["duration"] == 120  # every third frame of 40 ms

  image.seek(image.n_frames - 1)

  assert np.asarray(image.convert("RGB")).mean() > 200
  with pytest.raises(GatoError, match="no frames"):
    videos.write_gif([], tmp_path / "y.gif", fps=25)
