"""A sweep of a grid whose jobs run nothing: they are in the state that a test says."""

import json

from scaling_cases import CONTENT

from experiments import cli
from experiments.analysis.scaling import runs
from experiments.configs.studies import scaling as scaling_config
from launch import jobs, sweep
from launch.jobs import JobState
from launch.sweep_plan import Planner

GRID = runs.SweepConfig(
  widths=(64, 96, 128, 160, 192), tokens=(120_000, 240_000, 480_000, 960_000), branch=False
)


def planner(workdir, scaling=GRID, argv=(), verb="train", **settings):
  """The plan of a sweep of the scaling config's mixture."""
  config = scaling_config.get_config()
  config.workdir = str(workdir)
  config.scaling = cli.section_of(scaling)
  for name, value in settings.items():
    config[name] = value
  command = ["sweep", "--config=experiments/configs/studies/scaling.py", *argv]
  return Planner(cli.Experiment(config), command, CONTENT, verb=verb)


class Place:
  """A backend that runs nothing: jobs are in the state that the test says."""

  name = "place"

  def __init__(self):
    self.states, self.sent = {}, []

  def state(self, handle):
    return self.states[handle]


def fake_sweep(tmp_path, monkeypatch, width=2, states=None, verb="train", scaling=GRID, **more):
  """A sweep of the scaling config in a folder; jobs.submit and jobs.records are a dictionary's."""
  place = Place()

  def submit(backend, job):
    assert backend is place
    place.sent.append(job.name)
    place.states[job.name] = JobState.QUEUED
    return jobs.Record("place", {}, job, job.name, "", "")

  rows = planner(tmp_path, scaling, verb=verb).rows({})
  known = [
    jobs.Record("place", {}, row.job, row.job.name, "", "")
    for row in rows
    if row.job.name in (states or {})
  ]
  place.states.update(states or {})
  monkeypatch.setattr(jobs, "submit", submit)
  monkeypatch.setattr(jobs, "records", lambda: known)
  return place, sweep.Sweep(
    rows, place, width, out=tmp_path / "points.jsonl", content=CONTENT, **more
  )


def finish(row, loss=3.0):
  row.workdir.mkdir(parents=True, exist_ok=True)
  model = scaling_config.get_config().model.to_dict()
  config = {
    "model": {**model, **row.run.network},
    "train": {"batch_size": 16, "seed": 0},
    "optimizer": {"peak_learning_rate": 1e-3, "schedule": "wsd"},
  }
  (row.workdir / "config.json").write_text(json.dumps(config))
  logged = {
    "step": row.steps,
    "tokens": 1248 * row.steps,
    "loss": loss,
    "interval_target_tokens": 9,
  }
  logged |= {"interval_flops": 1e9, "interval_seconds": 10.0, "step_seconds": 0.5}
  (row.workdir / "metrics.jsonl").write_text(json.dumps(logged) + "\n")
  held_out = {"step": row.steps, "loss": loss, "loss/text": loss, "target_tokens": 9, "batches": 1}
  held_out["targets/text"] = 9
  (row.workdir / "validation.json").write_text(json.dumps(held_out))
