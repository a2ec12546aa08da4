"""A sweep by budgets: its plan grows with the losses, and comes out the same after a restart."""

import json
import types

import pytest
from sweep_cases import finish, planner

from experiments.analysis.scaling import family, law, predictions, runs
from gato_jax.errors import GatoError
from launch import sweep

BUDGETS = runs.SweepConfig(budgets=(2e13, 1e14, 5e14), repeated_budgets=1)
LAW = law.Law(1.0, 60.0, 400.0, 0.35, 0.4)


def train(made):
  """Trains what is planned and missing; returns the names."""
  missing = [
    row
    for row in made.rows(sweep._losses(sweep._measured(made)))
    if not (row.workdir / "validation.json").exists()
  ]
  for row in missing:
    finish(row, float(LAW(family.parameters(row.run.width, 32), row.run.tokens)))
  return [row.name for row in missing]


def test_rounds_follow_the_losses(tmp_path):
  made = planner(tmp_path, BUDGETS)
  rounds = []
  while missing := train(made):
    rounds.append(missing)

  budgets = [{name.split("-")[0] for name in names} for names in rounds]
  assert budgets[0] == {"c2e13"} and len(rounds[0]) == 10
  # A budget begins when the one before has an inner minimum.
  assert sorted(budgets, key=lambda names: float(next(iter(names))[1:])) == budgets
  assert all(len(names) == 1 for names in budgets) and set.union(*budgets) == {
    "c2e13",
    "c1e14",
    "c5e14",
  }

  measured = sweep._measured(planner(tmp_path, BUDGETS))
  assert len(measured) == sum(map(len, rounds))
  assert made.is_complete(sweep._losses(measured))
  assert not made.is_complete(sweep._losses(measured[:-1]))


def test_the_largest_budget_is_predicted_before_it_is_trained(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(predictions, "_DRAWS", 8)
  made = planner(tmp_path, BUDGETS)
  experiment = made._experiment
  while True:
    measured = sweep._measured(made)
    sweep._predict(experiment, made, measured)
    written = predictions.read(tmp_path)
    missing = train(made)
    if any(name.startswith("c5e14") for name in missing):
      break
    # Nothing is said about budgets that are fitted.
    assert not written

  assert {row.run for row in written} == set(missing)
  assert {row.fitted for row in written} == {len(measured)}
  assert "losses predicted" in capsys.readouterr().out

  # What was predicted is not predicted again, with the answers at hand.
  before = (tmp_path / predictions.FILE).read_text()
  sweep._predict(experiment, made, sweep._measured(made))
  assert (tmp_path / predictions.FILE).read_text() == before
  assert json.loads(before.splitlines()[0])["time"]


def test_single_runs_are_named(tmp_path, monkeypatch):
  made = planner(tmp_path, BUDGETS)
  name = made.rows({})[3].name
  monkeypatch.setattr(sweep, "_RUNS", types.SimpleNamespace(value=[name]))
  assert [row.name for row in sweep._rows(made, [])] == [name]

  monkeypatch.setattr(sweep, "_RUNS", types.SimpleNamespace(value=["c5e14-w8-s0"]))
  with pytest.raises(GatoError, match="--runs=c5e14-w8-s0: no run that is planned"):
    sweep._rows(made, [])
