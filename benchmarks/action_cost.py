"""Cost of an action, of the experts and of the network: numbers held, milliseconds, operations.

python -m benchmarks.action_cost --gato=work/demo --gato=work/small     (10 minutes)

Each expert (--tasks) and each network acts in a process of its own, on one core, with batch size 1.
Rows go to --out, one for an actor and a task, in place of an earlier one; the study action_cost.py
shows them. Milliseconds are those of act() alone, without the steps of the simulator: `ms` on the
clock, `cpu_ms` of the process's own time, which other work on the machine hardly lengthens. The
other columns:

parameters   Network: its parameters. Expert: the numbers in its attributes after reset(), arrays by
             their size, without environment and simulator, and the distinct numeric literals in
             each method of its classes but __init__, whose numbers are attributes.
flops        Network: products of one action (gato_jax.model.flops.action). Experts are scripts,
             searches and simulators, whose operations nobody counts: None, and flops_at_most is an
             upper bound, the mean processor time x the operations per second that this core reaches
             in a product of two float32 matrices.
look_ahead   Simulation of a planner per action: physics steps, frames, game steps or boards (of
             which a search takes the next moves), and the milliseconds in these calls (0 for
             boards).
"""

import argparse
import contextlib
import json
import math
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.experts import Simulated, parameters

_TASKS = {
  "control_suite": "cartpole-balance pendulum-swingup point_mass-easy reacher-easy cheetah-run",
  "meta_world": "reach-v3 button-press-v3 coffee-button-v3 dial-turn-v3 "
  "door-lock-v3 door-unlock-v3 plate-slide-v3 window-close-v3",
  "babyai": "GoToObj GoToRedBallGrey GoToLocalS5N2 OpenRedDoor",
  "sokoban": "boxes_1",
  "labyrinth": "one_room boxes_in_order hallway forage",
  "playroom": "go_to",
  "atari": "breakout freeway",
  "modular_rl": "walker2d-foot",
  "manipulation": "reach_site",
  "rgb_stacking": "triplet1",
  "procgen": "maze bigfish",
}
TASKS = tuple(f"{domain}.{task}" for domain, tasks in _TASKS.items() for task in tasks.split())

# Actions of the network that do not count: caches and clocks settle.
_WARM_UP = 5

# Environment of the processes that measure, so that they compute on one core.
_ONE_CORE = {
  "OMP_NUM_THREADS": "1",
  "OPENBLAS_NUM_THREADS": "1",
  "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}


def arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add("--tasks", default=",".join(TASKS), help="of experts; empty: none")
  add("--gato", action="append", default=[], help="workdir of a trained network; may be repeated")
  add("--seconds", type=float, default=20.0, help="of acting and simulating, for each expert")
  add(
    "--actions", type=int, default=2000, help="of each actor at most; whole episodes, but the last"
  )
  add("--out", type=pathlib.Path, default=pathlib.Path("work/action_cost/action_cost.jsonl"))

  # "expert TASK" or "gato WORKDIR", in the process of its own.
  add("--one", help=argparse.SUPPRESS)
  return parser.parse_args()


class Clock:
  """Stopwatch of calls: wall and processor seconds of each."""

  def __init__(self):
    self.wall: list[float] = []
    self.cpu: list[float] = []

  def __call__(self, call: Callable[[], Any]) -> Any:
    wall = time.perf_counter()
    cpu = time.process_time()
    result = call()

    self.cpu.append(time.process_time() - cpu)
    self.wall.append(time.perf_counter() - wall)

    return result

  def row(self) -> dict[str, Any]:
    """Returns the columns of a result that are times, in milliseconds."""
    low, median, high = np.percentile(1000 * np.array(self.wall), (10, 50, 90))
    return {
      "actions": len(self.wall),
      "ms": 1000 * float(np.mean(self.wall)),
      "ms_p10": float(low),
      "ms_p50": float(median),
      "ms_p90": float(high),
      "cpu_ms": 1000 * float(np.mean(self.cpu)),
    }


def peak() -> float:
  """Returns the operations a second of this core.

  It is the best of some products of matrices [1024, 1024].
  """
  a = np.random.default_rng(0).normal(size=(1024, 1024)).astype(np.float32)
  seconds = []
  for _ in range(10):
    began = time.process_time()
    _ = a @ a
    seconds.append(time.process_time() - began)

  return 2 * 1024**3 / min(seconds)


def measure_expert(name: str, seconds: float, actions: int) -> Iterator[dict[str, Any]]:
  """Yields the row of a task's expert."""
  import rlds_builders
  from gato_jax.randomness import FIRST_EVALUATION_SEED

  domain_name, task = name.split(".", 1)
  domain = rlds_builders.get(domain_name)
  environment = domain.make_environment(task)
  expert = domain.make_expert(environment, task)
  simulated = Simulated()
  simulated.watch(domain_name, expert)

  act_clock = Clock()
  reset_clock = Clock()
  parameter_count = 0
  deadline = math.inf
  seed = FIRST_EVALUATION_SEED

  def may_act() -> bool:
    return len(act_clock.wall) < actions and time.perf_counter() < deadline

  while may_act():
    environment.seed(seed)
    timestep = environment.reset()
    reset_clock(lambda s=seed: expert.reset(s))

    # An expert has its numbers only after its first reset, whose time does not count.
    if not act_clock.wall:
      parameter_count = parameters(expert, environment)
      deadline = time.perf_counter() + seconds

    while not timestep.last() and may_act():
      simulated.active = True
      action = act_clock(lambda t=timestep: expert.act(t))
      simulated.active = False
      timestep = environment.step(action)

    seed += 1

  environment.close()

  count = len(act_clock.wall)
  times = act_clock.row()
  yield {
    "task": name,
    "actor": "expert",
    "what": type(expert).__name__,
    "parameters": parameter_count,
    **times,
    "reset_ms": 1000 * float(np.mean(reset_clock.wall)),
    "flops": None,
    "flops_at_most": times["cpu_ms"] / 1000 * peak(),
    "look_ahead": simulated.count / count,
    "look_ahead_unit": simulated.unit,
    "look_ahead_ms": 1000 * simulated.seconds / count,
  }


def measure_network(workdir: str, actions: int, act: Any = None) -> Iterator[dict[str, Any]]:
  """Yields the rows of a trained network, one a control task.

  Args:
    workdir: The run's workdir.
    actions: Actions of each task.
    act: ActConfig; the run's by default.
  """
  from gato_jax import agent, model
  from gato_jax.agent import buckets
  from gato_jax.data import demonstrations
  from gato_jax.model import flops

  directory = pathlib.Path(workdir)
  policy = agent.Policy(directory)
  act = act or agent.ActConfig(**policy.meta["config"]["act"])
  parameter_count = model.count_parameters(model.abstract_params(policy.model_config))

  # Without memory the network reads the newest timestep only.
  memory = 0 if act.memory_steps == 1 else policy.model_config.memory_length

  for task in policy.tasks:
    if policy.spec(task).is_document:
      continue

    engine = policy.engine([task], 1, act)
    engine.compile()
    layout = policy.layout(task)
    (bucket,) = buckets.group({task: layout})

    # The observations are those of demonstrations, so no simulator is needed.
    clock = Clock()
    total = actions + _WARM_UP
    episodes = demonstrations.read(directory, task)
    seed = 0
    while len(clock.wall) < total:
      observation, done = episodes[seed % len(episodes)]
      engine.start(0, task, seed)
      for step in range(min(len(done), total - len(clock.wall))):
        values = {key: column[step] for key, column in observation.items()}
        clock(lambda v=values, t=task, e=engine: e.act({0: e.pack(t, v)}))
      seed += 1

    clock.wall = clock.wall[_WARM_UP:]
    clock.cpu = clock.cpu[_WARM_UP:]
    times = clock.row()
    action_flops = flops.action(
      policy.model_config,
      # One more: the separator.
      observation=layout.observation_length + 1,
      actions=layout.action.size,
      columns=sum(map(len, bucket.columns)),
      patches=layout.patch_count,
      memory=memory,
    )
    yield {
      "task": task,
      "actor": "gato",
      "what": workdir,
      "step": policy.step,
      "parameters": parameter_count,
      **times,
      "flops": action_flops,
      "flops_at_most": times["cpu_ms"] / 1000 * peak(),
      "look_ahead": 0,
      "look_ahead_unit": "",
      "look_ahead_ms": 0.0,
    }


def keep(path: pathlib.Path, row: dict[str, Any]) -> None:
  """Writes a row in place of an earlier one of the same actor and task."""
  # There are several networks, but one expert a task.
  key = ("task", "actor", "what") if row["actor"] == "gato" else ("task", "actor")

  rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
  rows = [other for other in rows if [other[k] for k in key] != [row[k] for k in key]]
  rows.append(row)

  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def measure_one(args: argparse.Namespace) -> None:
  """Measures the actor of --one on one core and prints its rows."""
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])

  kind, name = args.one.split(" ", 1)
  if kind == "expert":
    rows = measure_expert(name, args.seconds, actions=args.actions)
  else:
    rows = measure_network(name, args.actions)

  for row in rows:
    print(json.dumps(row), flush=True)


def main() -> None:
  args = arguments()
  if args.one:
    measure_one(args)
    return

  actors = [f"expert {task}" for task in args.tasks.split(",") if task]
  actors += [f"gato {workdir}" for workdir in args.gato]
  failed = []
  for actor in actors:
    command = [sys.executable, "-m", "benchmarks.action_cost", f"--one={actor}"]
    command += [f"--seconds={args.seconds}", f"--actions={args.actions}"]
    environment = os.environ | _ONE_CORE
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)

    for line in done.stdout.splitlines():
      # Simulators print, too.
      with contextlib.suppress(ValueError):
        row = json.loads(line)
        keep(args.out, row)
        print(
          f"{row['task']:34} {row['actor']:7} {row['what'][:16]:16}"
          f" {row['parameters']:9,} numbers  mean {row['ms']:9.3f} ms"
          f" (p50 {row['ms_p50']:.3f}, cpu {row['cpu_ms']:.3f})"
          f"  {row['look_ahead']:10,.0f} {row['look_ahead_unit']}",
          flush=True,
        )

    if done.returncode:
      failed.append(actor)

  if failed:
    sys.exit(f"error: not measured: {', '.join(failed)}; their output is above")


if __name__ == "__main__":
  main()
