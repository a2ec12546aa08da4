"""Following a training run: each new checkpoint is played, and the verb ends with the training."""

import itertools
import signal
import subprocess
import sys
import threading
import time

import broken_domain
import pytest
from evaluate_cases import DUMMY, ROOT, facts, sequential, wait
from evaluate_process import Policy

from gato_jax import agent
from gato_jax.env import loop, results
from gato_jax.env.sequential import play
from gato_jax.errors import GatoError
from gato_jax.evaluate import EvaluateConfig, evaluation, follow, simulator_pool
from gato_jax.randomness import FIRST_EVALUATION_SEED


def test_follow_takes_the_newest_and_ends_with_training(tmp_path):
  config = EvaluateConfig(episodes=2, workers=2)
  folder, said, loaded, deleted = tmp_path / "checkpoints", [], [], []

  def load():
    step = max(int(p.name) for p in folder.iterdir() if p.name.isdigit())
    if step == 30 and not deleted:
      deleted.append(step)
      raise GatoError("30: cannot be read")
    loaded.append(Policy(step, 40))
    return loaded[-1]

  def train():
    for steps in ([10, 20], [30], [40]):
      time.sleep(0.3)
      for step in steps:
        (folder / f"{step}.orbax-checkpoint-tmp").mkdir(parents=True)
        (folder / f"{step}.orbax-checkpoint-tmp").rename(folder / str(step))
      wait(lambda last=steps[-1]: any(f"step {last}:" in line for line in said) or last == 40)

  # A daemon, which does not outlive a test that failed.
  thread = threading.Thread(target=train, daemon=True)
  thread.start()

  with simulator_pool.Simulators(config, tmp_path / "log") as simulators:
    run = evaluation.Evaluation([(broken_domain.DOMAIN, "fine")], tmp_path, config, simulators)
    follow.follow(
      run,
      folder,
      load,
      agent.ActConfig(),
      minutes=0,
      idle_seconds=60,
      videos=True,
      say=said.append,
      poll_seconds=0.05,
    )

  thread.join()

  assert [policy.step for policy in loaded] == [
    20,
    30,
    40,
  ] and "evaluate: 30: cannot be read" in said

  for step in (20, 30, 40):
    assert facts(r for r in run.rows if r.step == step) == facts(
      sequential(["fine"], range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + 2), step)
    )

  films = sorted(p.name for p in (tmp_path / "videos").glob("*.gif"))

  assert films == ["broken.fine.best.gif", "broken.fine.worst.gif"]

  again = evaluation.Evaluation([(broken_domain.DOMAIN, "fine")], tmp_path, config, simulators)
  follow.follow(
    again, folder, load, agent.ActConfig(), minutes=0, idle_seconds=0, videos=True, say=said.append
  )

  assert len(again.rows) == len(run.rows) and said[-1] == "evaluate: step 40 is the last of the run"


def test_follow_ends_when_nothing_comes(tmp_path):
  said = []
  limits = dict(minutes=0, idle_seconds=0.1, poll_seconds=0.05)
  follow.follow(None, tmp_path, None, None, videos=False, say=said.append, **limits)
  assert said == [f"evaluate: no new checkpoint in {tmp_path} for 0.00166667 minutes"]


def test_without_a_clock_follow_waits_for_the_last_step(tmp_path, monkeypatch):
  hours = itertools.count(0, 3600)
  monkeypatch.setattr(follow.time, "monotonic", lambda: next(hours))
  looks = iter(range(5))

  class StillWaiting(Exception):
    pass

  def sleep(seconds):
    if next(looks, None) is None:
      raise StillWaiting

  monkeypatch.setattr(follow.time, "sleep", sleep)
  with pytest.raises(StillWaiting):
    follow.follow(None, tmp_path, None, None, minutes=0, idle_seconds=0, videos=False)


def test_sigterm_ends_the_verb_in_one_line(tmp_path):
  command = [
    sys.executable,
    "-m",
    "experiments.evaluate",
    "--config=experiments/configs/dummy.py",
    "--follow",
  ]
  command += [
    "--config.evaluate.baselines=measure",
    f"--config.workdir={tmp_path}",
    "--config.evaluate.workers=2",
  ]

  with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
    wait(
      lambda: (
        (tmp_path / "results.jsonl").exists()
        and len(list(results.read(tmp_path / "results.jsonl"))) == 24
      )
    )
    process.send_signal(signal.SIGTERM)

    assert "error: interrupted; run the same command again to continue" in process.stderr.read()

  assert process.returncode == 1

  rows = list(results.read(tmp_path / "results.jsonl"))
  seeds = range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + 6)

  for task in DUMMY.tasks:  # baselines are played by the simulators alone

    def experts(environments, task=task):
      return loop.PerSlot([DUMMY.make_expert(e, task) for e in environments])

    mine = [row for row in rows if (row.task, row.actor) == (f"dummy.{task}", "expert")]
    assert facts(mine) == facts(play(DUMMY, task, experts, "expert", seeds, 1))
