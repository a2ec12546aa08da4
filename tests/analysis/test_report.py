"""The report: scores against numbers computed by hand, intervals, bad input, the page's files."""

import dataclasses
import io
import json
import math

import numpy as np
import pytest
import rich.console
from PIL import Image

from experiments.analysis import run_metrics
from experiments.analysis.report import drawing, figures, page, table
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.evaluate import scores, videos
from gato_jax.evaluate.baselines import Baseline
from gato_jax.randomness import FIRST_EVALUATION_SEED

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


def row(actor, seed, value, task="a.b", step=0, success=None):
  return results.Row(task, actor, seed, value, 10, success, 1.0, step)


def baselines(random=(0.0, 2.0), expert=(11.0,) * 10):
  return [row("random", i, v) for i, v in enumerate(random)] + [
    row("expert", i, v) for i, v in enumerate(expert)
  ]


def test_score_by_hand():
  rows = baselines() + [row("gato", i, v, success=v > 5) for i, v in enumerate([4.0, 6.0, 8.0])]
  (score,) = scores.task_scores(rows)
  assert score.score == pytest.approx(100 * (6 - 1) / (11 - 1))
  assert (score.agent_mean, score.random_mean, score.expert_return, score.episodes) == (6, 1, 11, 3)
  assert score.success == pytest.approx(2 / 3) and score.expert_success is None
  assert score.low < score.score < score.high


def test_expert_return_is_the_best_window_in_seed_order():
  values = [0.0] * 10 + [10.0, 10.0] + [0.0] * 8  # 20 episodes: windows of 2
  expert = [row("expert", i, v) for i, v in enumerate(values)]
  shuffled = (
    expert[::2] + expert[1::2]
  )  # as parallel workers would append them: no window of 2 holds both tens
  (score,) = scores.task_scores([row("random", 0, 0.0), row("gato", 0, 5.0), *shuffled])
  assert score.expert_return == 10 and score.score == 50


def test_newest_step_and_duplicates():
  rows = baselines() + [
    row("gato", 0, 1.0, step=10),
    row("gato", 0, 11.0, step=20),
    row("gato", 0, 500.0, step=20),
  ]
  (score,) = scores.task_scores(rows)
  assert (score.score, score.episodes) == (100, 1)
  (older,) = scores.task_scores(rows, step=10)
  assert older.score == 0


def test_interval_covers_the_true_score_and_includes_the_random_actors_noise():
  random = np.random.default_rng(3)
  hits, wide, narrow = 0, 0.0, 0.0
  for _ in range(60):
    agent = [row("gato", i, v) for i, v in enumerate(random.normal(6, 2, 30))]
    noisy = scores.task_scores(baselines(random.normal(1, 4, 30)) + agent)[0]
    exact = scores.task_scores(baselines([1.0] * 30) + agent)[0]
    hits += exact.low <= 50 <= exact.high
    wide, narrow = wide + noisy.high - noisy.low, narrow + exact.high - exact.low
  assert hits >= 50  # 95 % nominal; a percentile interval of 30 episodes is a little narrow
  assert wide > 1.2 * narrow


def test_constant_returns_have_no_interval():
  (score,) = scores.task_scores(baselines() + [row("gato", i, 11.0) for i in range(20)])
  assert score.score == 100 and math.isnan(score.low) and math.isnan(score.high)
  assert table.interval(score) == "no spread"


@pytest.mark.parametrize(
  ("rows", "message"),
  [
    (
      [row("expert", 0, 1.0), row("gato", 0, 1.0)],
      "a.b: no rows of the 'random' baseline.*experiments.evaluate",
    ),
    (
      [row("random", 0, 1.0), row("gato", 0, 1.0)],
      "a.b: no rows of the 'expert' baseline.*experiments.collect",
    ),
    (baselines(), "no rows of actor 'gato'"),
    ([*baselines(random=[11.0]), row("gato", 0, 1.0)], "a.b: the expert's return 11 is not above"),
  ],
)
def test_bad_rows(rows, message):
  with pytest.raises(GatoError, match=message):
    scores.task_scores(rows)


def test_aggregates():
  nan = math.nan
  made = [
    scores.TaskScore(t, s, nan, nan, s, 0, 100, 1, None, None)
    for t, s in [("a.1", 50), ("a.2", 10), ("b.1", 49.9), ("b.2", 120), ("b.3", 0.1)]
  ]
  assert scores.bar(made) == (2, 5)
  assert scores.domain_means(made) == pytest.approx({"a": 30, "b": 170 / 3})
  assert scores.mean_over_domains(made) == pytest.approx((30 + 170 / 3) / 2)
  assert scores.interquartile_mean(made) == pytest.approx((10 + 49.9 + 50) / 3)


def test_logged_and_measured_experts_are_not_pooled():
  logged, measured = (
    [row("expert", first + i, v) for i in range(20)]
    for first, v in ((0, 11.0), (FIRST_EVALUATION_SEED, 5.0))
  )
  played = [row("random", 0, 1.0), row("gato", 0, 3.0)]
  assert scores.task_scores(played + logged)[0].expert_return == 11
  assert scores.task_scores(logged + played + measured)[0].expert_return == 5


def test_success_has_an_interval_and_means_alone_will_do():
  agent = [row("gato", i, v, success=v > 5) for i, v in enumerate([4.0, 6.0, 8.0, 9.0])]
  (score,) = scores.task_scores(agent, baselines={"a.b": Baseline(1.0, 11.0, None, 0.5)})
  assert (
    score.score == pytest.approx(100 * (6.75 - 1) / 10)
    and score.expert_success == 0.5
    and score.random_fixed
  )
  assert 0 <= score.success_low < score.success == 0.75 < score.success_high <= 1
  assert table.interval(score).endswith("]+") and "held fixed" in table.held_fixed([score])
  assert table.success(score) == f"75 % [{100 * score.success_low:.0f}, 100]"
  (exact,) = scores.task_scores(agent + baselines(random=[1.0], expert=[11.0]))
  assert (exact.low, exact.high) == (score.low, score.high) and not exact.random_fixed
  (rows_win,) = scores.task_scores(agent + baselines(), baselines={"a.b": Baseline(3.0, 5.0)})
  assert (
    rows_win.random_mean == 1 and rows_win.expert_return == 11 and not table.held_fixed([rows_win])
  )


def test_intervals_over_tasks_resample_the_seeds_that_tasks_share():
  """The mean over n independent tasks has an interval narrower by sqrt(n).

  That over n copies of one task has the interval of one.
  """
  random, tasks = np.random.default_rng(1), [f"a.{i}" for i in range(16)]
  noise = random.normal(0, 2, 60)
  ends = [
    row(actor, 0, value, t) for t in tasks for actor, value in (("random", 1.0), ("expert", 11.0))
  ]

  alike = scores.task_scores(
    ends + [row("gato", i, 6 + v, t) for t in tasks for i, v in enumerate(noise)]
  )
  low, high = scores.intervals(alike)["mean_over_domains"]
  assert (low, high) == pytest.approx((alike[0].low, alike[0].high))

  apart = ends + [
    row("gato", 100 * n + i, 6 + v, t) for n, t in enumerate(tasks) for i, v in enumerate(noise)
  ]
  for noisy in (
    apart,
    ends + [row("gato", i, 6 + random.normal(0, 2), t) for t in tasks for i in range(60)],
  ):
    made = scores.task_scores(noisy[::-1])  # whatever the order of the rows
    low, high = scores.intervals(made)["mean_over_domains"]
    assert (high - low) == pytest.approx(np.mean([one.high - one.low for one in made]) / 4, rel=0.3)

  assert scores.intervals(made, 100)["bar"] == (0, 0)
  low, high = scores.intervals(made)["interquartile_mean"]
  assert (
    low < scores.interquartile_mean(made) < high and high - low < (made[0].high - made[0].low) / 2
  )
  constant = scores.task_scores(ends + [row("gato", 0, 6.0, t) for t in tasks])
  assert scores.intervals(constant)["interquartile_mean"] == (50, 50)


def test_scores_over_checkpoints(tmp_path, monkeypatch):
  drawn = {}
  monkeypatch.setattr(drawing, "save", lambda figure, path: drawn.update(figure=figure))
  rows = baselines([1.0]) + [
    row(a, i, v, "a.c") for a, v in (("random", 1.0), ("expert", 11.0)) for i in range(10)
  ]
  rows += [
    row("gato", 0, v, task, step)
    for task, step, v in [("a.b", 10, 1), ("a.b", 20, 6), ("a.c", 20, 11)]
  ]
  rows += [row("gato", 0, 11.0, "a.b", 30), row("gato", 0, 3.0, "c.d", 30)]  # c.d has no baselines
  by_step = scores.scores_by_step(rows, {})
  assert by_step == {"a.b": {10: 0, 20: 50, 30: 100}, "a.c": {20: 100}}
  assert scores.last_scores(rows, {}) == {"a.b": 100, "a.c": 100}
  assert figures.score_curves(by_step, tmp_path / "x.png", drawing.styles("a"))
  line = drawn["figure"].axes[0].lines[0]
  assert line.get_xdata().tolist() == [10, 20, 30]
  np.testing.assert_equal(
    line.get_ydata(), [np.nan, 75, 100]
  )  # begins with both tasks; a.c counts with its last score
  assert not figures.score_curves({"a.b": {10: 0.0}}, tmp_path / "x.png", drawing.styles("a"))


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
  assert html.count("data:image/png;base64,") == 3
  for name in ("figure5.png", "tasks.png", "learning_curves.png"):
    image = np.asarray(Image.open(tmp_path / "report" / name).convert("RGB"))
    assert image.shape[0] > 300 and image.std() > 10  # something is drawn
  assert (
    html.count("the scored episode returned 11") == html.count("played again for this video") == 1
  )
  assert 'src="videos/control_suite.cartpole-swingup.best.gif"' in html
  assert (tmp_path / "report/videos/sokoban.easy.best.gif").stat().st_size < 200_000


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
