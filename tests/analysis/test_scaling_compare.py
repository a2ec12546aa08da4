"""Schedules, learning rates and scores of a sweep, and predictions made before its runs."""

import dataclasses

import numpy as np
import pytest
from scaling_cases import BUDGETS, CONTENT, make_point, make_points

from experiments.analysis.scaling import analysis, compare, points, predictions, runs


def test_schedules_are_compared_by_pairs():
  made = []
  for seed, factor in ((0, 1.01), (1, 1.02), (2, 1.03)):
    run = runs.SweepRun(1248, seed, width=64)
    made.append(make_point(run, 2.0 + seed))
    cosine = dataclasses.replace(run, schedule="cosine")
    made.append(make_point(cosine, (2.0 + seed) * factor))
  # Another size has no partner.
  made.append(make_point(runs.SweepRun(1248, 0, width=96, schedule="cosine"), 9.0))

  told = compare.schedules(made)
  assert told.pairs == 3 and told.mean == pytest.approx(np.log([1.01, 1.02, 1.03]).mean())
  assert told.low < told.mean < told.high
  assert compare.schedules(made[:2]) is None


def test_the_best_rate_of_a_width():
  """Losses of a parabola in the logarithm of the rate, whose minimum lies between two rates."""
  made = [
    make_point(runs.SweepRun(1248, 0, width=width, rate=rate), 2 + np.log(rate / best) ** 2)
    for width, best in ((64, 1.2), (128, 8.0))
    for rate in (0.5, 1.0, 2.0, 4.0)
  ]
  narrow, wide = compare.rates(made)
  assert narrow.best == pytest.approx(1.2) and narrow.rates == (0.5, 1.0, 2.0, 4.0)
  # The lowest loss at an end is no minimum.
  assert wide.best is None
  assert not compare.rates(made[:2])


def test_score_over_loss():
  losses = np.linspace(2.0, 4.0, 9)
  made = [
    make_point(
      runs.SweepRun(1248 * (i + 1), 0, width=64),
      loss,
      score=float(100 / (1 + np.exp((loss - 2.8) / 0.3))),
    )
    for i, loss in enumerate(losses)
  ]
  curve = compare.score_curve(made, draws=20)
  assert (curve.middle, curve.scale) == (pytest.approx(2.8), pytest.approx(0.3))
  assert curve.error < 1e-3 and float(curve(2.8)) == pytest.approx(50)
  low, high = curve.interval(losses)
  assert (low <= high).all()
  assert compare.score_curve(made[:3]) is None


def test_loss_and_score_disagree():
  def played(seed, loss, low, high):
    run = runs.SweepRun(1248, seed, width=64)
    return make_point(run, loss, score=(low + high) / 2, score_low=low, score_high=high)

  better, worse = played(0, 2.0, 10.0, 20.0), played(1, 2.2, 30.0, 40.0)
  near, agreeing = played(2, 2.19, 50.0, 60.0), played(3, 1.5, 60.0, 70.0)
  pairs = compare.disagreements([better, worse, agreeing], noise=0.01)
  assert [(one.seed, other.seed) for one, other in pairs] == [(0, 1)]

  # Losses that seeds alone could change, and intervals that overlap, say nothing.
  assert not compare.disagreements([worse, near], noise=0.01)
  assert not compare.disagreements([better, dataclasses.replace(worse, score_low=15.0)], noise=0.01)


def test_predictions_are_made_once(tmp_path, monkeypatch):
  monkeypatch.setattr(predictions, "_DRAWS", 8)
  made = make_points()
  config = runs.SweepConfig(budgets=BUDGETS)
  expected = [runs.SweepRun(1248 * 100, 0, width=width, budget=BUDGETS[-1]) for width in (56, 72)]

  def predict(planned):
    return predictions.predict(
      tmp_path, planned, made, CONTENT, config, lambda run: (run.width * 10_000, 50_000)
    )

  # Two runs, three domains, two meanings of N; the budget itself is not fitted.
  assert predict(expected[:1]) == 6 and predict(expected) == 6
  first = predictions.read(tmp_path)
  assert predict(expected) == 0 and predictions.read(tmp_path) == first

  assert {row.run for row in first} == {run.name for run in expected}
  assert {row.fitted for row in first} == {12}
  for row in first:
    assert row.low < row.loss < row.high
    assert row.n == 10_000 * int(row.run.split("-w")[1].split("-")[0]) - (
      50_000 if row.size == analysis.SIZES[0] else 0
    )
  assert {row.domain for row in first} == {points.POOLED, "babyai", "text"}
