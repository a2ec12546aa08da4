"""Studies: runs that differ in a few settings, hold-outs, fine-tuning, subsets of episodes.

One of them is run as a person would run it.
"""

import csv
import json
import pathlib
import sys
import threading

import commands
import numpy as np
import pytest
from absl import flags

from experiments import cli
from experiments.analysis import studies
from experiments.analysis.report import study_page
from experiments.analysis.report.sections import fine_tuning as section
from experiments.analysis.studies import StudyRun
from experiments.configs import default, small
from experiments.configs.studies import fine_tuning, forgetting, leave_one_out
from gato_jax import progress
from gato_jax.errors import GatoError
from gato_jax.train import checkpoint

ROOT = pathlib.Path(__file__).resolve().parents[2]
BOTH = {"dummy.reach", "dummy.reach_discrete"}


def config_of(**changes):
  config = default.get_config()
  config.update_from_flattened_dict(changes)
  return config


def names(tasks):
  return {cli.name_of(*one) for one in tasks}


def test_runs_come_behind_what_they_need():
  runs = [
    StudyRun("c", starts_from="b"),
    StudyRun("b", starts_from="a"),
    StudyRun("a"),
    StudyRun("p", plays="c", verbs=("evaluate",)),
  ]

  assert [run.name for run in studies.in_order(runs)] == ["a", "b", "c", "p"]
  assert studies.read(studies.section("scores", runs)) == studies.in_order(runs)
  assert json.loads(json.dumps(studies.section("scores", runs)))["runs"][1]["starts_from"] == "a"


@pytest.mark.parametrize(
  "runs, said",
  [
    (lambda: [StudyRun("a"), StudyRun("a")], "two runs are called 'a'"),
    (lambda: [StudyRun("a", starts_from="bb"), StudyRun("bc")], "did you mean 'bc'"),
    (lambda: [StudyRun("a", starts_from="b"), StudyRun("b", starts_from="a")], "needs itself"),
    (lambda: [StudyRun("a b")], "letters, digits"),
    (lambda: [StudyRun("a", plays="work/x")], "names in `plays` what was trained"),
    (lambda: [StudyRun("a", verbs=("evaluate",))], "names in `plays` what was trained"),
    (lambda: [StudyRun("a", verbs=("trian",))], "did you mean 'train'"),
  ],
)
def test_a_study_that_cannot_be(runs, said):
  with pytest.raises(GatoError, match=said):
    studies.section("scores", runs())


def test_a_runs_changes_count_less_than_the_command_line(monkeypatch):
  config = config_of(workdir="w")
  config.study = studies.section(
    "scores",
    [
      StudyRun("a", {"train.steps": 7, "train.seed": 3}),
      StudyRun("b", starts_from="a"),
      StudyRun("c", starts_from="else/where"),
      StudyRun("p", plays="b", verbs=("evaluate",)),
    ],
  )
  monkeypatch.setattr(sys, "argv", ["train", "--config.train.seed=9"])
  config.train.seed = 9
  a, b, c, p = (cli.Experiment(config, name) for name in "abcp")

  assert (a.config.train.steps, a.config.train.seed, config.train.steps) == (7, 9, None)
  assert [one.fine_tune.start for one in (a, b, c, p)] == ["", "w/a", "else/where", ""]
  assert [str(one.workdir) for one in (a, b, c, p)] == ["w/a", "w/b", "w/c", "w/b"] and str(
    p.results
  ) == "w/p"
  with pytest.raises(GatoError, match="did you mean 'a'"):
    cli.Experiment(config, "aa")


@pytest.mark.parametrize(
  "held_out, left",
  [
    ((), BOTH),
    (("dummy.reac?",), {"dummy.reach_discrete"}),
    (("dummy",), set()),
    (("atari.boxing",), BOTH),
  ],
)
def test_tasks_or_a_domain_are_held_out_by_one_line(held_out, left):
  experiment = cli.Experiment(config_of(held_out=held_out))
  assert names(experiment.tasks) == experiment.weights.keys() == left
  assert names(experiment.all_tasks) == BOTH  # still collected and built: they are played
  with pytest.raises(GatoError, match="did you mean 'reach'"):
    assert cli.Experiment(config_of(held_out=("dummy.reech",))).tasks


def test_fine_tuning_takes_a_task_and_a_share_of_the_mixture():
  changes = {
    "fine_tune.tasks": ("atari.boxing",),
    "evaluate.tasks": ("dummy.reach", "atari.b?xing"),
  }
  alone = cli.Experiment(config_of(**changes, **{"fine_tune.episodes": 3}))

  assert alone.subsets == {"atari.boxing": 3}
  assert alone.weights == {"atari.boxing": 1.0} and names(alone.all_tasks) == BOTH | {
    "atari.boxing"
  }
  assert names(alone.control_tasks) == {"dummy.reach", "atari.boxing"}

  with_replay = cli.Experiment(config_of(**changes, **{"fine_tune.replay": 0.25})).weights

  assert with_replay == {"atari.boxing": 0.75, "dummy.reach": 0.125, "dummy.reach_discrete": 0.125}

  in_mixture = cli.Experiment(
    config_of(**{"fine_tune.tasks": ("dummy.reach",), "fine_tune.replay": 0.1})
  ).weights

  assert in_mixture == {"dummy.reach": 0.9, "dummy.reach_discrete": 0.1}
  with pytest.raises(GatoError, match="beside tasks"):
    cli.Experiment(config_of(**{"fine_tune.replay": 0.1}))


def test_the_papers_study_and_ours():
  """Figure 9: four tasks, four initialisations, six subsets, three repeats.

  Boxing has ten episodes here.
  """
  runs = studies.read(fine_tuning.get_config("paper").study)

  assert len(runs) == 3 * 4 * 6 * 4 - 2 * 4 * 3  # of boxing there are not 100 or 1000
  assert {run.labels["task"] for run in runs} == set(small.HELD_OUT)
  assert {run.changes["train.steps"] for run in runs} == {10_000}

  after = studies.read(forgetting.get_config().study)[1:]

  assert [run.changes["fine_tune.replay"] for run in after] == [0.0, 0.05, 0.25]

  one_out = studies.read(leave_one_out.get_config("labyrinth").study)

  assert [run.changes["evaluate.tasks"] for run in one_out[1:3]] == [
    ("labyrinth.boxes_in_order",),
    ("labyrinth.forage",),
  ]

  held = cli.Experiment(leave_one_out.get_config("labyrinth"), "without-forage")

  assert names(held.tasks) == {
    "labyrinth.boxes_in_order",
    "labyrinth.hallway",
    "labyrinth.one_room",
  }


def test_subsets_of_episodes_are_nested_and_among_the_best(dummy_tfds):
  from gato_jax.data import prepared, windows
  from gato_jax.data.mixture import MixtureConfig
  from gato_jax.tokens import codec

  data = prepared.load(dummy_tfds, "dummy.reach", keep=-100)  # all

  def chosen(count, **more):
    config = MixtureConfig(sequence_length=128, episodes={"dummy.reach": count}, **more)
    return windows.EpisodeWindows(data, codec.default_text_codec(), config, 512).episodes.tolist()

  assert (
    chosen(3) == chosen(10)[:3] and len(set(chosen(10))) == 10 and chosen(10, draw=1) != chosen(10)
  )

  worst_of_best = np.sort(data.returns[data.kept])[-5]

  assert all(data.returns[i] >= worst_of_best for i in chosen(5, best=5))
  with pytest.raises(GatoError, match="31 episodes are asked for, 30 count"):
    chosen(31)
  with pytest.raises(GatoError, match="data.best=5"):
    chosen(6, best=5)


def test_the_best_moving_average():
  assert section.best_moving_average({1: 0, 2: 10, 3: 20}) == 10  # fewer than five: all
  assert section.best_moving_average({9: 0, 2: 100, 3: 0, 4: 0, 5: 0, 6: 0, 7: 50}) == 20
  assert section.best_moving_average({1: 0, 2: 8, 3: 4}, window=2) == 6


def test_runs_side_by_side_wait_only_for_what_they_need():
  """While "slow" trains, the other worker takes the runs that need nothing.

  Runs that need a failed one are left out.
  """
  from experiments import study

  flags.FLAGS(["study", "--jobs=2"])
  later, order = threading.Event(), []

  class Player:
    def play(self, run):
      if run.name == "slow":
        assert later.wait(300), "the other worker waited"
      if run.name == "broken":
        raise GatoError("broken: train ended")
      order.append(run.name)
      if run.name == "free":
        later.set()

  runs = [
    StudyRun("slow"),
    StudyRun("needs_slow", starts_from="slow"),
    StudyRun("broken"),
    StudyRun("b", starts_from="broken"),
    StudyRun("c", starts_from="b"),
    StudyRun("free"),
  ]
  failures = study.run_all(studies.in_order(runs), Player(), progress.Bar(disable=True))

  assert failures == ["broken: train ended"] and order == ["free", "slow", "needs_slow"]


STUDY = """
from experiments.configs import dummy
from experiments.analysis import studies
from experiments.analysis.studies import StudyRun


def get_config():
  config = dummy.get_config()
  config.name = "two"
  config.study = studies.section("fine_tuning", [
    StudyRun("base", {"held_out": ("dummy.reach",), "train.steps": 4, "evaluate.tasks": ("dummy.reach",)}, verbs=("train",)),
    StudyRun("tuned", {"fine_tune.tasks": ("dummy.reach",), "fine_tune.episodes": 2, "train.steps": 4,
                  "train.checkpoint_every": 2, "evaluate.episodes": 2, "optimizer.peak_learning_rate": 1e-9},
        {"arm": "base", "task": "dummy.reach", "episodes": 2, "repeat": 0}, starts_from="base"),
  ])
  return config
"""


# Slow: three minutes: two trainings, two evaluations and a report in processes of their own.
@pytest.mark.slow
def test_a_study_as_a_person_runs_it(dummy_tfds, tmp_path):
  (tmp_path / "two.py").write_text(STUDY)
  workdir = tmp_path / "work"
  arguments = [
    f"--config={tmp_path / 'two.py'}",
    f"--config.data_dir={dummy_tfds.parent}",
    f"--config.workdir={workdir}",
  ]

  def verb(name, *more):
    return commands.run(f"experiments.{name}", *arguments, *more)

  done = verb("study")

  assert done.returncode == 0, done.stderr

  again = verb("study", "--list")

  assert (
    again.stdout.splitlines()[0].startswith("base: finished") and "tuned: finished" in again.stdout
  )

  # It began where the other ended: at this rate nothing moves.
  base, tuned = (
    checkpoint.load_for_acting(workdir / name / "checkpoints")[0] for name in ("base", "tuned")
  )

  np.testing.assert_allclose(tuned["embedding"]["tokens"], base["embedding"]["tokens"], atol=1e-6)
  assert (workdir / "base" / "demonstrations" / "dummy.reach.npz").exists()  # held out, but played

  log = [
    json.loads(line) for line in (workdir / "tuned" / "metrics.jsonl").read_text().splitlines()
  ]

  assert not any("loss/dummy.reach_discrete" in row for row in log)

  done = verb("report")

  assert done.returncode == 0, done.stderr

  rows = list(csv.DictReader((workdir / "report" / "runs.csv").open()))

  assert [(row["task"], row["evaluations"], row["episodes_played"]) for row in rows] == [
    ("dummy.reach", "2", "2")
  ]

  page = (workdir / "report" / "index.html").read_text()

  assert "data:image/png" in page and f"experiments.study --config={tmp_path / 'two.py'}" in page

  failed = verb("study", "--config.model.width=32")

  assert failed.returncode == 1 and "base: train ended with status 1" in failed.stderr
  assert (
    "model.width" in failed.stderr and failed.stderr.count("train.log") == 2
  )  # above the bar, and as the error


def test_every_kind_of_a_config_is_there():
  for path in sorted((ROOT / "experiments" / "configs").glob("*.py")):
    text = path.read_text()
    if "small.study(" in text or "studies.section(" in text:
      assert any(f'"{kind}"' in text for kind in study_page.kinds()) or path.stem == "small", path
