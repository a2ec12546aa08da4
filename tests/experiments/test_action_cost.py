"""The cost of actions: rules that count numbers and simulated steps, and the report's section."""

import json
import subprocess
import sys
import types

import numpy as np
import pytest

from benchmarks import action_cost
from experiments.analysis import studies
from experiments.analysis.report import study_page
from gato_jax import agent
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig, flops
from rlds_builders.dummy import expert as dummy_expert


def test_numbers_that_an_expert_holds():
  gains = np.zeros((2, 3))

  def make(law):
    class Law:
      """An expert; its __module__, set below, says where the class is from."""

      def __init__(self):
        self.law, self.bounds, self.on, self.environment = (
          law,
          {"low": -1.5, "high": (2.0, 2.5)},
          True,
          world,
        )

      def act(self, timestep):
        return 0.25 * self.law(timestep) + 17.0

    Law.__module__ = "rlds_builders.made_up.expert"
    return Law()

  world = types.SimpleNamespace(map=np.zeros(1000))
  law = types.FunctionType(
    (lambda x: gains @ x).__code__,
    {"__name__": "rlds_builders.x"},
    closure=(types.CellType(gains),),
  )
  law.__module__ = "rlds_builders.made_up.laws"
  one = make(law)

  # bounds: 3, gains: 6, literals of act: 2; the world's 1000 and the flag do not count
  assert action_cost.parameters(one, world) == 3 + 6 + 2
  assert action_cost.parameters(dummy_expert, None) == 0  # a module holds nothing


def test_steps_that_a_planner_simulates():
  simulated = action_cost.Simulated()
  step = simulated.wrap(lambda n: n, "steps", lambda n: n)
  step(5)

  assert simulated.count == 0  # not while the environment steps

  simulated.active = True

  assert step(3) == 3 and step(4) == 4
  assert (simulated.count, simulated.unit) == (7, "steps") and simulated.seconds > 0


def test_operations_of_an_action_by_hand():
  config = GatoConfig(layers=2, heads=2, width=8, feed_forward=16, key_size=4)

  # 5 + 3 - 1 positions; the head's 10 columns for each of 3 action tokens
  by_hand = 2 * 7 * (8 * 8 * 8 + 3 * 8 * 16) + 2 * 6 * 8 * 7 * 8 / 2 + 2 * 8 * 10 * 3

  assert flops.action(config, observation=5, actions=3, columns=10, patches=0) == by_hand

  with_memory = flops.action(config, observation=5, actions=3, columns=10, patches=0, memory=100)
  longer = flops.action(
    config, observation=6, actions=3, columns=10, patches=0
  )  # it reads one token more

  assert with_memory == longer + 2 * 6 * 8 * 8 * 100


def test_the_benchmark_measures_an_expert_and_a_network(small_workdir, tmp_path):
  out = tmp_path / "costs.jsonl"
  out.write_text(
    json.dumps({"task": "dummy.reach", "actor": "expert", "what": "an earlier one"}) + "\n"
  )
  command = [
    sys.executable,
    "-m",
    "benchmarks.action_cost",
    "--tasks=dummy.reach,dummy.nothing",
    f"--out={out}",
  ]
  done = subprocess.run([*command, "--actions=30", "--seconds=5"], capture_output=True, text=True)

  assert done.returncode == 1 and "not measured: expert dummy.nothing" in done.stderr

  (row,) = map(json.loads, out.read_text().splitlines())

  assert (row["task"], row["actor"], row["actions"]) == ("dummy.reach", "expert", 30)
  assert (
    0 < row["ms_p10"] <= row["ms_p50"] <= row["ms_p90"]
    and row["flops"] is None
    and row["look_ahead"] == 0
  )
  assert row["flops_at_most"] > row["cpu_ms"] * 1e5  # no core does less than 0.1 GFLOP/s

  settings = agent.ActConfig(prompt="none", memory_steps=1)
  row = next(action_cost.measure_network(str(small_workdir), 10, settings))

  assert (row["task"], row["actor"], row["actions"], row["step"]) == ("dummy.reach", "gato", 10, 5)
  assert row["flops"] > 1e4


def study(tmp_path, costs):
  folder = tmp_path / "one"
  rows = []
  for task, score in (("a.kept", 9.0), ("a.lost", 3.0)):
    for actor, value, step in (("gato", score, 7), ("expert", 10.0, 0), ("random", 0.0, 0)):
      rows += [results.Row(task, actor, seed, value, 10, None, 1.0, step) for seed in range(3)]

  results.append(folder / "results.jsonl", rows)
  if costs:
    (tmp_path / "action_cost.jsonl").write_text("".join(json.dumps(row) + "\n" for row in costs))
  run = studies.StudyRun("one", plays="work/one", verbs=("evaluate",))
  return study_page.Study("s", {}, [study_page.Played(run, folder, folder)])


def cost(task, actor, ms, flops_, what="Planner"):
  numbers = dict.fromkeys(("ms", "ms_p10", "ms_p50", "ms_p90", "cpu_ms"), ms)
  return dict(
    task=task,
    actor=actor,
    what=what,
    parameters=3,
    flops=flops_,
    flops_at_most=ms * 1e9,
    look_ahead=2,
    look_ahead_unit="boards",
    look_ahead_ms=0,
    **numbers,
  )


def test_the_section_says_where_the_network_is_cheaper_and_keeps_the_score(tmp_path):
  costs = [cost("a.kept", "expert", 5.0, None), cost("a.kept", "gato", 1.0, 2e6, "work/one")]
  costs += [cost("a.lost", "expert", 0.001, None), cost("a.lost", "gato", 1.0, 2e6, "work/one")]
  costs += [cost("b.alone", "expert", 2.0, None), cost("a.lost", "gato", 1.0, 2e6, "work/other")]
  found = study(tmp_path, costs)
  path, section = study_page.write(tmp_path / "report", found, "action_cost", {})

  assert (
    "on 1 of 2 tasks, keeps 80 % of the expert's score on 1, and does both on 1: a.kept"
    in section.text[0]
  )
  assert "certainly not cheaper on 1" in section.text[1]

  kept, lost = section.tables["action_cost"]

  assert (kept["times_the_experts_time"], kept["keeps_80_%"], kept["network_score"]) == (
    0.2,
    "yes",
    90,
  )
  assert (lost["times_the_experts_time"], lost["keeps_80_%"]) == (1000, "no")
  assert [row["task"] for row in section.tables["other_experts"]] == ["b.alone"]
  assert "b.alone" in path.read_text() and (tmp_path / "report" / "action_cost.csv").exists()


def test_without_costs_a_line_says_how_to_measure_them(tmp_path):
  with pytest.raises(GatoError, match=r"no costs in .*: python -m benchmarks.action_cost --out=.*"):
    study_page.write(tmp_path / "report", study(tmp_path, []), "action_cost", {})
  found = study(tmp_path / "x", [cost("a.kept", "expert", 5.0, None)])
  with pytest.raises(GatoError, match="give --gato=work/one"):
    study_page.write(tmp_path / "x" / "report", found, "action_cost", {})
