"""Scores against numbers computed by hand, their intervals, and rows that are refused."""

import math

import numpy as np
import pytest
from score_rows import baselines, row

from experiments.analysis.report import drawing, figures, table
from gato_jax.errors import GatoError
from gato_jax.evaluate import scores
from gato_jax.evaluate.baselines import Baseline
from gato_jax.randomness import FIRST_EVALUATION_SEED


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
