"""The kind "scores" of a study's report: arms, means, differences with intervals, the files."""

import csv
import dataclasses
import itertools
import math

import browser
import numpy as np
import pytest
from PIL import Image

from experiments.analysis import studies
from experiments.analysis.report import study_page
from experiments.analysis.report.sections import scores as section
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.evaluate import baselines

ENDS = {
  "random": (0.0, 2.0),
  "expert": (11.0,) * 10,
}  # random 1, expert 11: a return r scores 10 (r - 1)


def played(
  tmp_path, name, arm, returns, verbs=("train", "evaluate"), success=None, ends=ENDS, step=5
):
  """Writes a run with evaluation rows, from the returns of each task's episodes."""
  rows = []

  for task, values in returns.items():
    everybody = [(actor, 0, values_) for actor, values_ in ends.items()] + [("gato", step, values)]
    for actor, at, many in everybody:
      is_policy = actor == "gato"
      rows += [
        results.Row(
          task, actor, seed, float(v), 9, success(v) if success and is_policy else None, 1.0, at
        )
        for seed, v in enumerate(many)
      ]

  results.append(tmp_path / name / "results.jsonl", rows)
  run = studies.StudyRun(name, labels={"arm": arm} if arm else {}, verbs=verbs)
  return study_page.Played(run, tmp_path / name, tmp_path / name)


def study(*runs, held_out=()):
  return study_page.Study("test", {"held_out": held_out}, runs)


def test_arms_are_scored_between_the_same_baselines_and_repeats_count_together(tmp_path):
  runs = [
    played(tmp_path, "one", "all", {"a.x": [6, 6, 9], "a.y": [1, 1]}),
    played(
      tmp_path, "other", "all", {"a.x": [11, 13]}, step=7
    ),  # another seed of training: the same arm
    played(
      tmp_path, "scratch", "scratch", {"a.x": [2]}, ends={}
    ),  # its baselines are those of the others
  ]
  results.append(
    tmp_path / "one" / "results.jsonl", [results.Row("a.x", "gato", 0, 500.0, 9, None, 1.0, 4)]
  )
  arms = section.scored(runs)

  assert list(arms) == ["all", "scratch"]
  assert (
    arms["all"]["a.x"].task_score.score == pytest.approx(10 * (45 / 5 - 1))
    and arms["all"]["a.x"].task_score.episodes == 5
  )
  assert sorted(arms["all"]["a.x"].episodes) == [50, 50, 80, 100, 120]
  assert arms["all"]["a.y"].task_score.score == 0 and arms["scratch"][
    "a.x"
  ].task_score.score == pytest.approx(10)


def test_means_and_differences_by_hand(tmp_path):
  runs = [
    played(tmp_path, "first", "first", {"a.x": [5, 7], "a.y": [1, 3], "b.z": [1, 2]}),
    played(tmp_path, "other", "other", {"a.x": [12, 10], "a.y": [5, 3]}),
  ]
  made = section.section(study(*runs, held_out=("a.y",)), tmp_path)
  means = {(row["tasks"], row["arm"]): row for row in made.tables["means"]}

  assert set(means) == set(
    itertools.product(("all tasks", "held out", "trained"), ("first", "other"))
  )

  # b.z, which one arm has not played, is in no mean.
  row = means["all tasks", "other"]

  assert (row["n"], row["mean"], row["less first"]) == (
    2,
    pytest.approx((100 + 30) / 2),
    pytest.approx(35),
  )
  assert means["held out", "other"]["less first"] == pytest.approx(20)
  assert means["all tasks", "first"]["less first"] is None
  assert row["difference_low"] < 35 < row["difference_high"] and row["excludes_0"]

  differences = {row["task"]: row for row in made.tables["differences"]}

  assert set(differences) == {"a.x", "a.y"} and differences["a.x"]["less first"] == pytest.approx(
    50
  )

  # Seed by seed, [12, 10] is 7 and 3 above [5, 7]: the difference is 30 to 70, and 0 is far.
  assert (differences["a.x"]["difference_low"], differences["a.x"]["difference_high"]) == (
    pytest.approx(30),
    70,
  )
  assert differences["a.y"]["excludes_0"] is False  # 0 to 40: the ends are not beyond 0
  assert (
    made.tables["task_by_arm"][2]["first"].startswith("5.0 [")
    and made.tables["task_by_arm"][2]["other"] == ""
  )
  assert any("other has not played b.z" in paragraph for paragraph in made.text)
  assert any("of 2 differences 1 are above 0 and 0 below" in paragraph for paragraph in made.text)


def test_an_interval_of_a_difference_holds_what_it_promises():
  """Zero lies outside one in twenty intervals of equal arms, and outside all of distant arms."""
  random = np.random.default_rng(0)
  one = section.ArmScore(None, np.zeros(1), (0,), None)
  outside = 0

  for trial in range(200):
    of = dataclasses.make_dataclass("Of", ["task"])(f"a.{trial}")
    drawn = [
      dataclasses.replace(one, task_score=of, episodes=random.normal(50, 20, 20)) for _ in range(2)
    ]
    outside += section.difference(drawn[:1], drawn[1:]).excludes_0
    far = dataclasses.replace(drawn[1], episodes=drawn[1].episodes + 60)
    assert section.difference(drawn[:1], [far]).low > 20

  assert 2 <= outside <= 24  # nominal 10; a percentile interval of 20 episodes is a little narrow


def test_what_a_seed_makes_hard_for_both_arms_cancels():
  random = np.random.default_rng(0)
  scenes, noise = random.normal(50, 30, 20), random.normal(0, 3, (2, 20))
  seeds = tuple(range(20))
  first, other = (
    section.ArmScore(None, scenes + noise[0], seeds, None),
    section.ArmScore(None, scenes + 6 + noise[1], seeds, None),
  )
  elsewhere = dataclasses.replace(other, seeds=tuple(range(100, 120)))

  paired = section.difference([first], [other])
  apart = section.difference([first], [elsewhere])

  assert paired.value == apart.value and paired.excludes_0 and not apart.excludes_0
  assert paired.high - paired.low < 0.25 * (apart.high - apart.low)


def test_without_spread_there_is_no_interval(tmp_path):
  runs = [
    played(tmp_path, arm, arm, {"a.x": [value] * 3}) for arm, value in (("first", 5), ("other", 6))
  ]
  made = section.section(study(*runs), tmp_path)
  (row,) = made.tables["differences"]

  assert (
    row["less first"] == pytest.approx(10)
    and math.isnan(row["difference_low"])
    and row["excludes_0"] is None
  )
  assert made.tables["task_by_arm"][0]["first"] == "40.0 (no spread)"


def test_no_success_of_ten_has_an_interval(tmp_path):
  runs = [
    played(tmp_path, "first", "first", {"a.x": range(10), "a.y": [2]}, success=lambda v: v > 20)
  ]
  made = section.section(study(*runs), tmp_path)
  assert made.tables["success_by_arm"][0] == {"task": "a.x", "first": "0 of 10 [0, 31 %]"}
  assert made.tables["scores"][0]["success_high"] == pytest.approx(30.85, abs=0.01)


def test_what_cannot_be_shown_is_said(tmp_path):
  first = played(tmp_path, "first", "first", {"a.x": [1, 2]})
  waiting = study_page.Played(
    studies.StudyRun("late", labels={"arm": "late"}), tmp_path / "late", tmp_path / "late"
  )
  network = study_page.Played(
    studies.StudyRun("net", verbs=("train",)), tmp_path / "net", tmp_path / "net"
  )
  made = section.section(study(network, first, waiting), tmp_path)

  assert made.text[-1] == "Not played yet: late."
  with pytest.raises(GatoError, match="run nameless has no label 'arm'"):
    section.section(study(first, played(tmp_path, "nameless", "", {"a.x": [1]})), tmp_path)

  with pytest.raises(
    GatoError, match="no run of test has been played yet; run python -m experiments.study"
  ):
    section.section(study(waiting), tmp_path)

  with pytest.raises(GatoError, match="a.x: no rows of the 'random' baseline"):
    section.section(study(played(tmp_path, "alone", "x", {"a.x": [1]}, ends={})), tmp_path)


def test_groups_are_those_of_the_config():
  tasks = ["a.x", "a.y", "b.z", "b.w"]
  assert list(section.task_groups(tasks, {})) == ["all tasks", "a", "b"]
  assert section.task_groups(tasks, {"held_out": ("b",)})["held out"] == ["b.z", "b.w"]
  assert section.task_groups(tasks, {"held_out": ("*.x",)})["trained"] == ["a.y", "b.z", "b.w"]
  assert section.task_groups(["a.x"], {"held_out": ("a",)}) == {"held out": ["a.x"]}
  assert section.task_groups([], {}) == {}


def test_the_page_of_twenty_tasks_and_six_arms(tmp_path):
  random = np.random.default_rng(1)
  tasks = [
    f"{domain}.a_rather_long_name_{i}"
    for domain in ("control_suite", "meta_world")
    for i in range(10)
  ]
  runs = [
    played(
      tmp_path,
      f"arm{i}",
      f"arm {i}",
      {task: random.normal(12 - 2 * i, 2, 10) for task in tasks},
      ends={},
    )
    for i in range(6)
  ]
  for run in runs:
    baselines.write(run.directory, {task: baselines.Baseline(1.0, 11.0) for task in tasks})
  path, _ = study_page.write(
    tmp_path / "report", study(*runs), "scores", {"commands": ["the command"]}
  )

  assert "the command" in path.read_text()
  browser.assert_readable(path)

  with Image.open(tmp_path / "report" / "scores.png") as image:
    width, height = image.size

  assert width > 900 and height / (6 * 23) > 12  # pixels a bar: 20 tasks and 3 means

  for name, count in (("task_by_arm", 20), ("means", 18), ("differences", 100), ("scores", 120)):
    with (tmp_path / "report" / f"{name}.csv").open() as file:
      assert len(list(csv.DictReader(file))) == count
