"""A real sweep of 2 x 2 runs on the local backend.

Killed, continued, shown; nothing finished is trained again.
"""

import contextlib
import dataclasses
import functools
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import commands
import pytest
import rich.console
from scaling_cases import CONTENT
from sweep_cases import GRID, fake_sweep, finish, planner

from experiments import cli
from experiments.analysis.scaling import points
from experiments.configs.studies import scaling as scaling_config
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.evaluate import baselines
from launch import jobs, sweep
from launch.jobs import JobState
from launch.sweep_plan import Planner

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = (
  f"sweeptest{os.getpid()}"  # records of jobs are kept by name, in a folder that all tests share
)
CONFIG = f'''
from experiments import cli
from experiments.configs import dummy
from experiments.analysis.scaling import runs


def get_config():
  config = dummy.get_config()
  config.name = "{NAME}"
  config.scaling = cli.section_of(runs.SweepConfig(widths=(32, 64), tokens=(12_800, 25_600)))
  config.data.update(sequence_length=64, validation_every=2)
  config.optimizer.update(schedule="wsd", warmup_steps=2)
  config.train.update(batch_size=4, log_every=5, checkpoint_every=1_000, validation_batches=2)
  return config
'''


@pytest.fixture
def records():
  yield
  for record in jobs.records():
    if record.job.name.startswith(NAME):
      record.path.unlink()
      shutil.rmtree(record.handle)


def shown(made):
  out = io.StringIO()
  rich.console.Console(file=out, width=160).print(sweep.table(made))
  return out.getvalue()


def test_so_many_at_a_time_and_the_table(tmp_path, monkeypatch):
  place, made = fake_sweep(tmp_path, monkeypatch)
  made.submit()

  assert place.sent == ["scaling-w64-t120k-s0", "scaling-w96-t120k-s0"]

  made.submit()

  assert len(place.sent) == 2  # no room

  first, second, third = made.rows[:3]
  place.states[first.handle] = JobState.RUNNING
  first.workdir.mkdir(parents=True)
  logged = {"step": 30, "loss": 6.5, "step_seconds": 0.5, "interval_seconds": 15.0}
  (first.workdir / "metrics.jsonl").write_text(json.dumps(logged) + "\n")
  made.look()
  text = shown(made)

  assert "18 missing, 1 queued, 1 running" in text and "about" in text

  line = next(line for line in text.splitlines() if line.startswith("w64-t120k"))

  assert line.split() == [
    "w64-t120k-s0",
    "120,000",
    "running",
    f"30/{first.steps}",
    "(6.500)",
    "0:33",
  ]

  finish(first, 4.25)
  place.states[first.handle], place.states[second.handle] = JobState.DONE, JobState.FAILED
  made.look()
  made.submit()

  assert first.state == JobState.DONE and second.state == JobState.FAILED and len(place.sent) == 4
  assert "4.2500" in shown(made) and "1 failed" in shown(made) and third.state == JobState.QUEUED
  assert [p.name for p in points.read(tmp_path / "points.jsonl")] == ["w64-t120k-s0"]
  assert not made.over


def test_what_ended_well_without_a_loss_has_failed(tmp_path, monkeypatch):
  place, made = fake_sweep(tmp_path, monkeypatch, width=0)
  made.submit()
  assert len(place.sent) == 20  # 0: all at once
  place.states = dict.fromkeys(place.states, JobState.DONE)
  made.look()
  assert made.over and {row.state for row in made.rows} == {JobState.FAILED}


def test_a_sweep_goes_on_where_one_stopped(tmp_path, monkeypatch):
  _, before = fake_sweep(tmp_path, monkeypatch)
  finish(before.rows[0])
  names = [row.job.name for row in before.rows]
  states = {
    names[0]: JobState.DONE,
    names[1]: JobState.RUNNING,
    names[2]: JobState.FAILED,
    names[3]: JobState.UNKNOWN,
  }
  place, made = fake_sweep(tmp_path, monkeypatch, width=3, states=states)

  assert [row.state for row in made.rows[:5]] == [
    JobState.DONE,
    JobState.RUNNING,
    "missing",
    "missing",
    "missing",
  ]

  made.submit()

  assert place.sent == names[2:4]  # beside the one that runs; the finished one is not sent


def play(row, episodes, domain_tasks, step=None):
  rows = [
    results.Row(f"{domain.name}.{task}", "gato", seed, 5.0, 9, None, 1.0, step or row.steps)
    for domain, task in domain_tasks
    for seed in range(episodes)
  ]
  results.append(row.workdir / "results.jsonl", rows)
  names = {row.task for row in rows}
  baselines.write(
    row.workdir, {name: baselines.Baseline(random=0.0, expert=10.0) for name in names}
  )


def test_playing_what_was_trained(tmp_path, monkeypatch):
  config = scaling_config.get_config()
  config.evaluate.episodes = 3
  experiment = cli.Experiment(config)
  _, before = fake_sweep(tmp_path, monkeypatch, width=0)

  with pytest.raises(GatoError, match="20 of 20 runs are not trained, w64-t120k-s0 for one"):
    sweep.check_trained(before.rows)

  for row in before.rows:
    finish(row)
  done, half, old = before.rows[:3]
  play(done, 3, experiment.control_tasks)
  play(half, 2, experiment.control_tasks)
  play(old, 3, experiment.control_tasks, step=1)  # another checkpoint's

  finished = functools.partial(sweep.is_played, experiment=experiment)
  place, made = fake_sweep(tmp_path, monkeypatch, 0, {}, "evaluate", finished=finished)
  sweep.check_trained(made.rows)

  assert {row.job.verb for row in made.rows} == {"evaluate"} and made.rows[0].job.name.endswith(
    "-evaluate"
  )

  made.submit()

  assert place.sent == [row.job.name for row in made.rows[1:]]

  play(made.rows[1], 3, experiment.control_tasks)
  place.states = dict.fromkeys(place.states, JobState.DONE)
  made.look()

  assert [row.state for row in made.rows[:3]] == [JobState.DONE, JobState.DONE, JobState.FAILED]

  first = points.read(tmp_path / "points.jsonl")[0]

  assert (first.score, first.score_low, first.score_high, first.score_episodes) == (
    50.0,
    50.0,
    50.0,
    3,
  )
  assert (
    next(line for line in shown(made).splitlines() if "w64-t120k" in line).split()[-1] == "50.0"
  )


def test_overrides_reach_the_jobs(tmp_path):
  argv = ["--config.data.validation_every=7", "--config.workdir=elsewhere"]
  row = planner(tmp_path, argv=argv).rows({})[0]

  assert (
    row.job.config == "experiments/configs/studies/scaling.py"
    and "--config.workdir=elsewhere" not in row.job.overrides
  )

  wanted = {
    "--config.data.validation_every=7",
    "--config.model.width=64",
    "--config.train.steps=96",
    "--config.train.seed=0",
  }

  assert (
    wanted < set(row.job.overrides)
    and row.job.overrides[-1] == f"--config.workdir={tmp_path}/w64-t120k-s0"
  )


def test_runs_branch_and_wait_for_what_they_branch_from(tmp_path, monkeypatch):
  """Warm-ups of 9 and 19 steps differ, so that the first two runs of a width share nothing."""
  branching = dataclasses.replace(GRID, branch=True)
  rows = {row.name: row for row in planner(tmp_path, branching).rows({})}
  assert rows["w64-t240k-s0"].after == "" and rows["w64-t960k-s0"].after == "w64-t480k-s0"
  branch = f"--config.train.branch_from={tmp_path}/w64-t480k-s0"
  assert branch in rows["w64-t960k-s0"].job.overrides

  place, made = fake_sweep(tmp_path, monkeypatch, width=0, scaling=branching)
  made.submit()
  assert {row.state for row in made.rows if row.after} == {"missing"}
  assert len(place.sent) == 15

  source = next(row for row in made.rows if row.name == "w64-t480k-s0")
  finish(source)
  place.states[source.handle] = JobState.DONE
  made.look()
  made.submit()
  assert place.sent[15:] == ["scaling-w64-t960k-s0"]


def test_a_sweep_ends_where_its_hours_end(tmp_path, monkeypatch):
  place, made = fake_sweep(tmp_path, monkeypatch, width=2, until=20 / 3600)
  made.submit()
  for row in made.rows[:2]:
    finish(row)  # ten seconds each
    place.states[row.handle] = JobState.DONE
  made.look()
  made.submit()

  assert len(place.sent) == 2 and made.exhausted and made.over
  assert made.spent_hours() == pytest.approx(20 / 3600)


def test_bad_requests_are_one_line():
  for arguments, message in (
    (["--config=experiments/configs/demo.py", "--on=local"], "no section `scaling`"),
    (["--config=experiments/configs/studies/scaling.py"], "--on=BACKEND"),
    (
      [
        "--config=experiments/configs/studies/scaling.py",
        "--on=local",
        "--config.scaling.widths=(70,)",
      ],
      "not a positive multiple of 8",
    ),
    (
      ["--config=experiments/configs/studies/scaling.py", "--on=gke", "--bucket=store"],
      "give --config.workdir=gs://store/work/",
    ),
    (
      ["--config=experiments/configs/studies/scaling.py", "--on=local", "--name=x"],
      "names its runs itself",
    ),
  ):
    done = commands.run("launch", "sweep", *arguments)

    assert (
      done.returncode == 1 and message in done.stderr and len(done.stderr.strip().splitlines()) == 1
    ), done.stderr


def start(config, tmp_path, data, *more):
  command = [
    sys.executable,
    "-m",
    "launch",
    "sweep",
    f"--config={config}",
    "--on=local",
    "--jobs=1",
    "--poll=0.2",
  ]
  command += [f"--config.workdir={tmp_path / 'sweep'}", f"--config.data_dir={data}"]
  return subprocess.Popen(
    [*command, *more], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
  )


@pytest.mark.slow
def test_a_real_sweep_is_killed_and_continued(tmp_path, dummy_tfds, records):
  config = tmp_path / "config.py"
  config.write_text(CONFIG)
  folder = tmp_path / "sweep"
  first = start(config, tmp_path, dummy_tfds.parent)
  deadline = time.monotonic() + 300

  while not (
    folder / "w64-t12800-s0" / "metrics.jsonl"
  ).exists():  # the first run is done, the second trains
    assert time.monotonic() < deadline and first.poll() is None, first.stdout.read()
    time.sleep(0.1)

  first.kill()
  first.wait()
  (second,) = [record for record in jobs.records() if record.job.name == f"{NAME}-w64-t12800-s0"]
  with contextlib.suppress(ProcessLookupError):  # and its job, with SIGKILL: nothing is saved
    os.killpg(int((pathlib.Path(second.handle) / "pid").read_text()), signal.SIGKILL)
  done = folder / "w32-t12800-s0" / "validation.json"
  before = done.stat().st_mtime_ns
  again = start(config, tmp_path, dummy_tfds.parent)
  said, _ = again.communicate(timeout=1800)

  assert again.returncode == 0, said
  assert done.stat().st_mtime_ns == before  # not trained, not even started again

  found = points.read(folder / "points.jsonl")

  assert [p.name for p in found] == [
    "w32-t12800-s0",
    "w32-t25600-s0",
    "w64-t12800-s0",
    "w64-t25600-s0",
  ]
  assert [p.steps for p in found] == [50, 100, 50, 100] and all(
    p.losses.keys() == {"dummy"} for p in found
  )
  assert all(0.2 < p.loss < 10 and p.flops > 0 and p.target_tokens > 0 for p in found)
  assert found[1].train_loss < found[0].train_loss and found[3].train_loss < found[2].train_loss
  # The longer runs began where the shorter ones began to decay, after 40 of 50 steps.
  rows = (folder / "w64-t25600-s0" / "metrics.jsonl").read_text().splitlines()
  assert json.loads(rows[0])["step"] > 40 and json.loads(rows[-1])["tokens"] == 25_600
  assert f"{NAME}-w64-t12800-s0: missing -> queued" in said and f"{NAME}-w32-t12800-s0" not in said
  assert "4 done" in said and "4 points" in said

  played = start(
    config, tmp_path, dummy_tfds.parent, "--verb=evaluate", "--config.evaluate.episodes=2"
  )
  said, _ = played.communicate(timeout=1800)
  assert played.returncode == 0 and f"{NAME}-w64-t25600-s0-evaluate: running -> done" in said, said

  found = points.read(folder / "points.jsonl")
  assert all(p.score_episodes == 2 and p.score_low <= p.score <= p.score_high for p in found)


def test_a_command_without_a_config_says_so():
  with pytest.raises(GatoError, match="--config=experiments"):
    Planner(cli.Experiment(scaling_config.get_config()), ["sweep"], CONTENT)
