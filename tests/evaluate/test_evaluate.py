"""Evaluation with real simulator processes.

It equals sequential play, continues after a kill, and survives broken simulators.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import broken_domain
import pytest
from evaluate_cases import DUMMY, ROOT, SUPPORT, children_of, facts, failures, sequential, wait
from evaluate_process import STEP, Policy, Wanderer, evaluate

import rlds_builders
from gato_jax import agent
from gato_jax.env import realtime, results
from gato_jax.env.sequential import play, random_actor
from gato_jax.errors import GatoError
from gato_jax.evaluate import EvaluateConfig, baselines, evaluation, jobs, simulator_pool
from gato_jax.randomness import FIRST_EVALUATION_SEED


@pytest.mark.parametrize("action_steps", [1, 2])
def test_a_policys_parallel_episodes_are_the_sequential_ones(small_workdir, tmp_path, action_steps):
  act = agent.ActConfig(prompt="none", memory_steps=3, action_steps=action_steps)
  policy = agent.Policy(small_workdir)
  config = EvaluateConfig(episodes=4, workers=3)

  with simulator_pool.Simulators(config, tmp_path / "log") as simulators:
    run = evaluation.Evaluation(
      [(DUMMY, task) for task in DUMMY.tasks], tmp_path, config, simulators
    )
    assert run.play(run.missing(policy.step), "evaluate", policy, act) == 0

  rows = list(results.read(tmp_path / "results.jsonl"))
  seeds = range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + 4)

  for task in DUMMY.tasks:
    actor = realtime.ActionRepeat(policy.actor(f"dummy.{task}", 1, act), action_steps)
    alone = play(DUMMY, task, lambda _, actor=actor: actor, "gato", seeds, 1, step=5)
    assert facts(alone) == facts(row for row in rows if row.task == f"dummy.{task}")

  assert simulators.actions == sum(-(-row.length // action_steps) for row in rows)


def test_rows_of_other_settings_are_not_mixed(tmp_path):
  run = evaluation.Evaluation([], tmp_path, EvaluateConfig(), None)
  run.check_settings(agent.ActConfig())
  run.check_settings(agent.ActConfig(temperature=0.5))  # nothing has been played yet
  results.append(run.path, [results.Row("dummy.reach", "gato", 0, 1.0, 5, True, 0.1, 5)])
  again = evaluation.Evaluation([], tmp_path, EvaluateConfig(), None)
  again.check_settings(agent.ActConfig(temperature=0.5))

  with pytest.raises(
    GatoError,
    match=r"played with act.temperature 0.5, not 1.0, act.action_steps 1, not 2; .*--results",
  ):
    again.check_settings(agent.ActConfig(action_steps=2))


def test_tasks_are_mixed_in_one_batch_and_every_row_is_right(tmp_path):
  policy = Policy()
  run = evaluate(tmp_path, ["fine", "slow"], EvaluateConfig(episodes=8, workers=5), policy)
  assert facts(run.rows) == facts(
    sequential(["fine", "slow"], range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + 8))
  )
  assert {"broken.fine", "broken.slow"} in policy.engines[0].batches


def test_mujoco_in_parallel_is_mujoco_alone(tmp_path):
  domain, task = rlds_builders.get("control_suite"), "point_mass-easy"
  todo = jobs.missing([(domain, task)], "random", 0, 3, [])
  with simulator_pool.Simulators(EvaluateConfig(workers=2), tmp_path / "log") as simulators:
    rows = [row for _, row in simulators.play(todo)]

  assert facts(rows) == facts(
    play(
      domain, task, random_actor(f"{domain.name}.{task}"), "random", [job.seed for job in todo], 1
    )
  )
  assert all(row.length == 1000 for row in rows) and len({row.episode_return for row in rows}) > 1


def test_kill_and_continue(tmp_path):
  command = [
    sys.executable,
    str(SUPPORT / "evaluate_process.py"),
    str(tmp_path),
    "12",
    "slow",
    "fine",
  ]
  environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{SUPPORT}"}
  path = tmp_path / "results.jsonl"

  for kills in (3, 9):
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    wait(lambda n=kills: path.exists() and path.read_bytes().count(b"\n") >= n)
    process.kill()
    process.wait()
    kept = path.read_bytes()

    assert kept.count(b"\n") < 24

    wait(lambda: not children_of(tmp_path))  # a simulator does not outlive the policy
    with path.open("ab") as file:
      file.write(kept.splitlines()[0][:40])  # what a kill in the middle of a write leaves

  subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)

  assert path.read_bytes().startswith(kept)
  assert facts(results.read(path)) == facts(
    sequential(["slow", "fine"], range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + 12))
  )

  before = path.read_bytes()
  subprocess.run(command, env=environment, check=True)

  assert path.read_bytes() == before


def test_a_hanging_simulator_does_not_outlive_a_killed_policy(tmp_path):
  command = [sys.executable, str(SUPPORT / "evaluate_process.py"), str(tmp_path), "4", "hang"]
  environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{SUPPORT}"}
  process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
  path = tmp_path / "results.jsonl"
  wait(lambda: path.exists() and path.read_bytes().count(b"\n") == 3 and children_of(tmp_path))
  process.kill()
  process.wait()
  wait(lambda: not children_of(tmp_path))


@pytest.mark.parametrize(
  ("task", "reason"),
  [
    ("crash", "the simulator's process ended by signal SIGSEGV"),
    ("hang", "no answer from the simulator in time"),
    ("raises", "ValueError: the simulator is broken"),
    ("nan", "broken.nan: observation 'body/velocity' is not finite"),
  ],
)
def test_a_broken_simulator_costs_its_episode(tmp_path, monkeypatch, capsys, task, reason):
  monkeypatch.setenv("BROKEN_DOMAIN_MENDED", str(tmp_path / "mended"))
  config = EvaluateConfig(
    episodes=6, workers=2, step_seconds=8.0 if task == "hang" else 120.0, reset_seconds=300
  )
  run = evaluate(tmp_path, [task], config)
  seeds = [FIRST_EVALUATION_SEED + i for i in range(6)]

  assert broken_domain.BAD_SEED in seeds
  with pytest.raises(GatoError, match=r"1 episodes failed; see .*failures.jsonl"):
    run.check()

  (failure,) = failures(tmp_path)

  assert (failure["task"], failure["seed"], failure["step"]) == (
    f"broken.{task}",
    broken_domain.BAD_SEED,
    STEP,
  )
  assert reason in failure["reason"] and reason in capsys.readouterr().err

  if task != "nan":
    assert (
      "broken_domain.py" in pathlib.Path(failure["log"]).read_text()
    )  # where it crashed, hung or raised

  assert not children_of(tmp_path)
  assert {row.seed for row in run.rows} == set(seeds) - {broken_domain.BAD_SEED}

  (tmp_path / "mended").touch()
  again = evaluate(tmp_path, [task], config)
  again.check()

  assert [row.seed for row in again.rows[5:]] == [broken_domain.BAD_SEED]

  expected = [row[1:] for row in facts(sequential(["fine"], seeds))]  # without the task's name

  assert [row[1:] for row in facts(results.read(tmp_path / "results.jsonl"))] == expected


def test_a_task_that_always_fails_is_given_up_and_the_others_are_played(tmp_path):
  run = evaluate(tmp_path, ["never", "fine"], EvaluateConfig(episodes=20, workers=2))
  assert {row.task for row in run.rows} == {"broken.fine"} and len(run.rows) == 20
  assert (
    3 <= len(failures(tmp_path)) <= 4
  )  # two simulators: one may be under way when the third fails
  with pytest.raises(
    GatoError, match=r"[34] episodes failed; broken.never was given up, 1[67] more not played"
  ):
    run.check()


def test_simulators_import_no_jax_and_no_tensorflow(tmp_path):
  evaluate(tmp_path, ["imports"], EvaluateConfig(episodes=1, workers=1))
  assert failures(tmp_path)[0]["reason"] == "ValueError: imported: []"


def test_another_spec_than_the_trained_one_is_one_error(small_workdir, tmp_path):
  other = dataclasses.replace(DUMMY, environment="broken_domain:make_discrete")
  policy, config = agent.Policy(small_workdir), EvaluateConfig(episodes=5, workers=2)

  with simulator_pool.Simulators(config, tmp_path / "simulators.log") as simulators:
    todo = jobs.missing([(other, "reach")], "gato", 5, 5, [])
    with pytest.raises(
      GatoError, match=r"dummy.reach: the checkpoint in .* trained on another spec \(action: "
    ):
      list(simulators.play(todo, Wanderer(), policy.check_environment))
    assert not children_of(tmp_path)


def test_a_budget_leaves_the_worst_known_tasks_rows(tmp_path):
  config = EvaluateConfig(episodes=4, workers=1, baselines="scores")
  means = {t: {"random": -40.0, "expert": 0.0} for t in broken_domain.DOMAIN.tasks}
  baselines.write(tmp_path, {f"broken.{t}": baselines.Baseline(**m) for t, m in means.items()})
  known = [("fine", 3, 0.0), ("fine", 5, -30.0), ("slow", 3, -39.0), ("slow", 4, -10.0)]
  rows = [
    results.Row(f"broken.{t}", "gato", FIRST_EVALUATION_SEED, value, 1, None, 0.0, step)
    for t, step, value in known
  ]
  results.append(tmp_path / "results.jsonl", rows)

  with simulator_pool.Simulators(config, tmp_path / "log") as simulators:
    tasks = [(broken_domain.DOMAIN, task) for task in ("slow", "fine", "hang")]
    run = evaluation.Evaluation(tasks, tmp_path, config, simulators)

    assert run.baselines(lambda *_: [], lambda _: means) == []

    todo = run.missing(STEP)

    assert [job.task for job in todo] == 4 * ["hang"] + 4 * ["fine"] + 4 * ["slow"]
    assert run.play(todo[8:], "evaluate", Policy(), agent.ActConfig(), minutes=0.2 / 60) in (
      2,
      3,
    )  # 40 steps of 10 ms are an episode

  assert [row.seed for row in run.rows[len(rows) :]] == [
    FIRST_EVALUATION_SEED,
    FIRST_EVALUATION_SEED + 1,
  ][: len(run.rows) - len(rows)]


def test_a_task_that_is_known_well_enough_is_played_no_further(tmp_path):
  """The narrow task has six episodes, the wide one and the one of equal returns go on."""
  config = EvaluateConfig(episodes=30, workers=2, baselines="scores", until_width=5.0)
  means = {task: {"random": 0.0, "expert": 100.0} for task in broken_domain.DOMAIN.tasks}
  returns = {"slow": (48, 49, 50, 51, 52, 50), "hang": (0, 100, 0, 100, 0, 100), "fine": (7,) * 6}
  results.append(
    tmp_path / "results.jsonl",
    [
      results.Row(
        f"broken.{task}", "gato", FIRST_EVALUATION_SEED + i, float(value), 1, None, 0.0, STEP
      )
      for task, values in returns.items()
      for i, value in enumerate(values)
    ],
  )

  with simulator_pool.Simulators(config, tmp_path / "log") as simulators:
    tasks = [(broken_domain.DOMAIN, task) for task in returns]
    run = evaluation.Evaluation(tasks, tmp_path, config, simulators)
    run.baselines(lambda *_: [], lambda _: means)

    todo = run.missing(STEP)
    assert {job.task for job in todo} == {"hang", "fine"} and len(todo) == 48
    assert run.spared(STEP) == {"broken.slow": 24}

    # While it plays, too: jobs of a task that has become narrow are not begun.
    every = jobs.missing(tasks[:1], "gato", STEP, 30, run.rows)
    assert run.play(every, "evaluate", Policy(), agent.ActConfig()) == 24
    assert len(run.rows) == 18

  with pytest.raises(GatoError, match="evaluate.until_width=-1"):
    EvaluateConfig(until_width=-1)


def test_films_show_the_best_and_the_worst(tmp_path):
  config = EvaluateConfig(episodes=5, workers=2)
  with simulator_pool.Simulators(config, tmp_path / "log") as simulators:
    run = evaluation.Evaluation([(broken_domain.DOMAIN, "fine")], tmp_path, config, simulators)
    policy = Policy()
    run.play(run.missing(STEP), "evaluate", policy, agent.ActConfig())
    run.record_videos(policy, agent.ActConfig())
    assert len(policy.engines) == 1  # compiled once
    made = {p: p.stat().st_mtime_ns for p in (tmp_path / "videos").iterdir()}
    run.record_videos(policy, agent.ActConfig())

  assert made == {
    p: p.stat().st_mtime_ns for p in (tmp_path / "videos").iterdir()
  }  # not filmed twice

  returns = {row.seed: row.episode_return for row in run.rows}

  assert len(returns) == 5 and len(run.rows) == 5  # a film is not an episode

  for kind, choose in (("best", max), ("worst", min)):
    shown = json.loads((tmp_path / f"videos/broken.fine.{kind}.json").read_text())
    assert shown["seed"] == choose(returns, key=returns.get) and shown["step"] == STEP
    assert shown["episode_return"] == shown["scored_return"] == returns[shown["seed"]]


def test_a_film_is_drawn_in_a_process_of_its_domain(tmp_path):
  tasks, config = (
    [(broken_domain.DOMAIN, "fine"), (broken_domain.OTHER, "fine")],
    EvaluateConfig(episodes=2, workers=1),
  )
  with simulator_pool.Simulators(config, tmp_path / "log") as simulators:
    run = evaluation.Evaluation(tasks, tmp_path, config, simulators)
    policy = Policy()
    run.play(run.missing(STEP), "evaluate", policy, agent.ActConfig())
    run.record_videos(policy, agent.ActConfig())
    run.check()

  assert len(list((tmp_path / "videos").glob("*.gif"))) == 4 and len(policy.engines) == 1


def test_baselines_by_source(tmp_path, dummy_raw):
  tasks = [(DUMMY, task) for task in DUMMY.tasks]
  logged = {
    "reach": [
      results.Row("dummy.reach", a, i, -1.0, 3, True, 0.0) for i, a in enumerate(["expert"] * 3)
    ]
  }
  logged["reach"].append(results.Row("dummy.reach", "expert, disturbed", 3, -9.0, 3, True, 0.0))
  scores_json = json.loads(rlds_builders.scores_path("dummy").read_text())

  def prepare(source, folder):
    config = EvaluateConfig(baselines=source, baseline_episodes=2)
    run = evaluation.Evaluation(tasks, tmp_path / folder, config, None)
    left = run.baselines(lambda domain, task: logged.get(task, []), lambda domain: scores_json)
    return (
      {(job.name, job.actor, job.seed) for job in left},
      run.rows,
      baselines.read(tmp_path / folder),
    )

  played, rows, means = prepare("available", "a")

  assert played == {("dummy.reach", "random", FIRST_EVALUATION_SEED + i) for i in range(2)}
  assert [row.actor for row in rows] == ["expert"] * 3 and list(means) == ["dummy.reach_discrete"]
  assert means["dummy.reach_discrete"].random == scores_json["reach_discrete"]["random"] < 0
  assert prepare("available", "a") == (played, rows, means)  # again: nothing twice

  played, rows, means = prepare("scores", "b")

  assert not played and not rows and list(means) == ["dummy.reach", "dummy.reach_discrete"]

  played, rows, means = prepare("measure", "c")

  assert len(played) == 8 and not rows and not means
  with pytest.raises(
    GatoError, match="no expert episodes of dummy.reach_discrete.*baselines=scores"
  ):
    prepare("logs", "d")

  del scores_json["reach"]["random"]

  with pytest.raises(
    GatoError, match="dummy.reach: rlds_builders/dummy/scores.json has no random and expert mean"
  ):
    prepare("scores", "e")

  with pytest.raises(GatoError, match="did you mean 'measure'"):
    EvaluateConfig(baselines="measured")
