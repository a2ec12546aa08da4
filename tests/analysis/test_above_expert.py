"""The test for being above the expert: its power, its error rate, and its lines on the page."""

import csv
import json

import browser
import numpy as np
import pytest
from scipy import stats

from experiments.analysis import studies
from experiments.analysis.report import above_expert, page, study_page
from gato_jax.env import results
from gato_jax.evaluate import scores


def rows_of(task, agent, expert, random=(0.0, 2.0)):
  played = [("gato", 7, agent), ("expert", 0, expert), ("random", 0, random)]
  return [
    results.Row(task, actor, seed, float(value), 10, None, 1.0, step)
    for actor, step, values in played
    for seed, value in enumerate(values)
  ]


def compare(rows, **settings):
  found = above_expert.compare(rows, scores.task_scores(rows), **settings)
  return {one.task: one for one in found}


def test_differences_and_superiority_by_hand():
  expert = [9.0, 11.0] * 5 + [
    1.0
  ] * 10  # in collection order: the best window of two has a mean of 10
  (one,) = compare(rows_of("a.b", [10.0, 12.0], expert)).values()

  assert (one.everything.episodes, one.kept.episodes) == (20, 10)  # 80 % of 10 and more
  assert (one.everything.mean, one.kept.mean, one.mean) == (5.5, 10.0, 11.0)
  assert one.everything.effect == pytest.approx(100 * (11 - 5.5) / (5.5 - 1))
  assert one.kept.effect == pytest.approx(100 * (11 - 10) / (10 - 1))
  assert one.kept.superiority == pytest.approx((5 * 1 + 5 * 0 + 5 * 1 + 5 * 1) / 20)
  assert one.everything.low < one.everything.effect < one.everything.high
  assert one.score == pytest.approx(
    100 * (11 - 1) / (10 - 1)
  )  # above 100, against the window's mean


def test_what_is_above_is_found_and_what_is_not_is_not():
  draw = np.random.default_rng(0)
  expert = draw.normal(10, 1, 300)
  rows = rows_of("a.above", draw.normal(11, 1, 30), expert) + rows_of(
    "a.alike", expert[:30], expert
  )
  rows += rows_of("a.below", draw.normal(9, 1, 30), expert)
  found = compare(rows, keep=0)

  assert [found[f"a.{name}"].everything.is_above for name in ("above", "alike", "below")] == [
    True,
    False,
    False,
  ]
  assert found["a.below"].everything.p == 1
  assert found["a.above"].everything.p_holm == pytest.approx(3 * found["a.above"].everything.p)
  assert found["a.above"].everything.p == pytest.approx(
    stats.ttest_ind(
      [r.episode_return for r in rows if (r.task, r.actor) == ("a.above", "gato")],
      expert,
      equal_var=False,
      alternative="greater",
    ).pvalue,
    abs=2e-4,
  )
  assert "above its expert on 1 of 3 tasks" in above_expert.summary(list(found.values()))


def errors(agent, expert, trials=100):
  """Shares of trials in which three tests find a difference.

  The tests are ours, Welch's alone and permutations alone.
  """
  draw, found = np.random.default_rng(1), np.zeros(3)

  for _ in range(trials):
    pair = agent(draw), expert(draw)
    welch = stats.ttest_ind(*pair, equal_var=False, alternative="greater")
    method = stats.PermutationMethod(n_resamples=199, rng=draw)
    permuted = stats.ttest_ind(*pair, equal_var=False, alternative="greater", method=method)
    found += [
      p < above_expert.LEVEL
      for p in (above_expert._p_value(*pair, draw), welch.pvalue, permuted.pvalue)
    ]

  return found / trials


def test_seldom_wrong_where_one_of_the_two_tests_alone_is_not(monkeypatch):
  monkeypatch.setattr(above_expert, "PERMUTATIONS", 199)
  ours, welch, _ = errors(
    lambda d: 10.0 * (d.random(20) > 0.1), lambda d: 10.0 * (d.random(30) > 0.1)
  )

  assert ours < 0.06 < welch  # failures in one of ten episodes

  ours, _, permuted = errors(lambda d: d.normal(0, 5, 20), lambda d: d.normal(0, 0.5, 400))

  assert ours < 0.06 < permuted  # a few wide episodes against many narrow ones


def test_returns_without_spread():
  (one,) = compare(rows_of("a.b", [10.0] * 20, [10.0] * 20)).values()
  assert (
    one.everything.p == 1 and np.isnan(one.everything.low) and one.everything.superiority == 0.5
  )
  (one,) = compare(rows_of("a.b", [11.0] * 20, [10.0] * 20)).values()
  assert one.everything.p == pytest.approx(1 / (above_expert.PERMUTATIONS + 1))


def test_a_page_has_the_table_where_there_are_episodes_of_experts(tmp_path):
  rows = rows_of("a.above", [11.0, 12.0] * 10, [9.0, 10.0] * 20) + rows_of(
    "a.below", [3.0, 4.0], [9.0, 10.0] * 20
  )
  results.append(tmp_path / "results.jsonl", rows)
  nothing = tmp_path / "none"
  path, _ = page.write(tmp_path / "report", tmp_path / "results.jsonl", nothing, nothing, {})

  assert "<h2>Above the expert</h2>" in path.read_text()
  browser.assert_readable(path)

  with (tmp_path / "report" / "above_expert.csv").open() as file:
    above = {line["task"]: line["above"] for line in csv.DictReader(file)}

  assert above == {"a.above": "both", "a.below": "no"}

  results.append(tmp_path / "without.jsonl", [row for row in rows if row.actor != "expert"])
  known = {task: page.Baseline(0.0, 10.0) for task in ("a.above", "a.below")}
  path, _ = page.write(
    tmp_path / "other", tmp_path / "without.jsonl", nothing, nothing, {}, baselines=known
  )

  assert "Above the expert" not in path.read_text()


def test_the_section_of_a_study(tmp_path):
  folder = tmp_path / "one"
  rows = rows_of("a.above", [11.0, 12.0] * 10, [9.0, 10.0, 1.0, 2.0] * 10) + rows_of(
    "a.below", [3.0, 4.0], [9.0, 10.0]
  )
  results.append(folder / "results.jsonl", rows)
  run = studies.StudyRun("one", plays="work/one", verbs=("evaluate",))
  study = study_page.Study("s", {"data": {"keep": 0.0}}, [study_page.Played(run, folder, folder)])
  path, section = study_page.write(tmp_path / "report", study, "above_expert", {})

  assert "above its expert on 1 of 2 tasks" in section.text[1] and "1 of 2" in path.read_text()
  assert section.tables["one"][0]["kept_episodes"] == 40  # keep=0 of the study's config
  assert (tmp_path / "report" / "above_expert_one.png").stat().st_size > 1000
  assert json.dumps(section.tables)
