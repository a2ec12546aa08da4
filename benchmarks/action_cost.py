"""What an action costs the experts and the network: numbers held, milliseconds, operations.

python -m benchmarks.action_cost --gato=work/demo --gato=work/small      (10 minutes; --tasks=... measures others)

Each expert and each network acts in a process of its own on one core, batch 1. Rows go to --out, one for an actor and a
task, in place of an earlier one; the study experiments/configs/action_cost.py shows them. Milliseconds are of act()
alone, the simulator's steps between are not in them: `ms` on the clock, `cpu_ms` of the process's own time, which other
work on the machine hardly lengthens. How the rest is counted:

parameters   Network: its parameters. Expert: the numbers in its attributes after reset(), arrays by their size,
             without the environment and the simulator, and the distinct numeric literals in each method of its classes
             but __init__, whose numbers are attributes.
flops        Network: products of one action (gato_jax.model.flops.action). Experts are scripts, searches, simulators:
             nobody counts theirs. It is None, and flops_at_most stands for it, an upper bound: mean processor time x
             the operations a second that this core reaches in a product of two float32 matrices.
look_ahead   What a planner simulates for an action: physics steps, frames, game steps or boards (of which a search
             takes the next moves), and the milliseconds inside these calls (boards: not told apart, 0).
"""

import argparse
import contextlib
import functools
import inspect
import json
import math
import os
import pathlib
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

TASKS = (
  "control_suite.cartpole-balance", "control_suite.pendulum-swingup", "control_suite.point_mass-easy",
  "control_suite.reacher-easy", "control_suite.cheetah-run", "meta_world.reach-v3", "meta_world.button-press-v3",
  "meta_world.coffee-button-v3", "meta_world.dial-turn-v3", "meta_world.door-lock-v3", "meta_world.door-unlock-v3",
  "meta_world.plate-slide-v3", "meta_world.window-close-v3", "babyai.GoToObj", "babyai.GoToRedBallGrey",
  "babyai.GoToLocalS5N2", "babyai.OpenRedDoor", "sokoban.boxes_1", "labyrinth.one_room", "labyrinth.boxes_in_order",
  "labyrinth.hallway", "labyrinth.forage", "playroom.go_to", "atari.breakout", "atari.freeway",
  "modular_rl.walker2d-foot", "manipulation.reach_site", "rgb_stacking.triplet1", "procgen.maze", "procgen.bigfish",
)  # fmt: skip
_OURS = ("rlds_builders", "metaworld.policies", "minigrid.utils.baby_ai_bot")  # where experts' classes come from
_SIMULATORS = (".environment", "._miniworld", ".levels", ".rooms", ".arena")  # modules of what is simulated
_WARM_UP = 5  # of the network's actions


def arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--tasks", default=",".join(TASKS), help="of experts; empty: none")
  parser.add_argument("--gato", action="append", default=[], help="workdir of a trained network; may be repeated")
  parser.add_argument("--seconds", type=float, default=20.0, help="of acting and simulating, for each expert")
  parser.add_argument("--actions", type=int, default=2000, help="of each actor at most; whole episodes, but the last")
  parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("work/action_cost/action_cost.jsonl"))
  parser.add_argument("--one", help=argparse.SUPPRESS)  # "expert TASK" or "gato WORKDIR": in the process of its own
  return parser.parse_args()


class Clock:
  """Times calls: wall and processor seconds of each."""

  def __init__(self):
    self.wall: list[float] = []
    self.cpu: list[float] = []

  def __call__(self, call: Callable[[], Any]) -> Any:
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    self.cpu.append(time.process_time() - cpu)
    self.wall.append(time.perf_counter() - wall)
    return result

  def row(self) -> dict[str, float]:
    low, median, high = np.percentile(1000 * np.array(self.wall), (10, 50, 90))
    return {
      "actions": len(self.wall), "ms": 1000 * float(np.mean(self.wall)), "ms_p10": float(low), "ms_p50": float(median),
      "ms_p90": float(high), "cpu_ms": 1000 * float(np.mean(self.cpu)),
    }  # fmt: skip


class Simulated:
  """Counts what a planner simulates while it is told to, and the seconds spent there."""

  def __init__(self):
    self.active, self.count, self.seconds, self.unit = False, 0, 0.0, ""

  def wrap(self, call: Callable[..., Any], unit: str, size: Callable[..., int]) -> Callable[..., Any]:
    @functools.wraps(call)
    def counted(*args: Any, **kwargs: Any) -> Any:
      if not self.active:
        return call(*args, **kwargs)
      began = time.perf_counter()
      try:
        return call(*args, **kwargs)
      finally:
        self.seconds += time.perf_counter() - began
        self.count += size(*args, **kwargs)
        self.unit = unit

    return counted

  def watch(self, domain: str, expert: Any) -> None:
    """Puts counters where this domain's experts simulate."""
    if domain in ("atari", "atari_extended"):
      emulator = expert._search._emulator
      proxy = types.SimpleNamespace(**{
        name: getattr(emulator, name)
        for name in ("act", "cloneState", "game_over", "getRAM", "lives", "restoreState", "reset_game")
      })  # fmt: skip
      proxy.act = self.wrap(emulator.act, "frames", lambda *a: 1)
      expert._search._emulator = proxy
    elif domain == "procgen":
      from rlds_builders.procgen import environment

      environment.Games.act = self.wrap(environment.Games.act, "game steps", lambda games, actions: len(actions))
    elif domain == "sokoban":
      from rlds_builders.sokoban import expert as sokoban

      # A generator: its work is done while it is read, so boards are counted and their time is not.
      sokoban._Search.successors = self.wrap(sokoban._Search.successors, "boards", lambda *a: 1)
    else:
      import mujoco
      from mujoco import rollout

      def steps(model: Any, data: Any, initial: np.ndarray, control: np.ndarray, *rest: Any) -> int:
        return control.shape[0] * control.shape[1]

      rollout.rollout = self.wrap(rollout.rollout, "physics steps", steps)
      mujoco.mj_step = self.wrap(mujoco.mj_step, "physics steps", lambda model, data, nstep=1: nstep)


def parameters(expert: Any, environment: Any) -> int:
  """Numbers that an expert holds, by the rule of this file's docstring."""
  seen, classes = {id(environment)}, set()

  def is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)

  def visit(value: Any) -> int:
    if is_number(value):
      return 1
    if isinstance(value, np.ndarray):
      return int(value.size) if np.issubdtype(value.dtype, np.number) else 0
    if id(value) in seen:
      return 0
    seen.add(id(value))
    if isinstance(value, dict):
      return sum(map(visit, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
      return sum(map(visit, value))
    if isinstance(value, types.FunctionType) and value.__module__.startswith(_OURS):
      return literals(value.__code__) + sum(visit(cell.cell_contents) for cell in value.__closure__ or ())
    kind = type(value)
    if not kind.__module__.startswith(_OURS) or kind.__module__.endswith(_SIMULATORS):
      return 0
    found = 0
    if kind not in classes:
      classes.add(kind)
      methods = [
        one
        for c in kind.__mro__
        if c.__module__.startswith(_OURS)
        for name, one in vars(c).items()
        if name != "__init__"
      ]
      methods = [inspect.unwrap(getattr(one, "__func__", getattr(one, "fget", one))) for one in methods]
      found += sum(literals(one.__code__) for one in methods if isinstance(one, types.FunctionType))
    slots = (name for c in kind.__mro__ for name in getattr(c, "__slots__", ()))
    held = {**getattr(value, "__dict__", {}), **{name: getattr(value, name, None) for name in slots}}
    return found + sum(map(visit, held.values()))

  def literals(code: types.CodeType) -> int:
    found = 0
    for constant in code.co_consts:
      if isinstance(constant, types.CodeType):
        found += literals(constant)
      elif isinstance(constant, tuple):
        found += sum(map(is_number, constant))
      else:
        found += is_number(constant)
    return found

  return visit(expert)


def peak() -> float:
  """Operations a second of this core: the best of some products of float32 matrices [1024, 1024]."""
  a = np.random.default_rng(0).normal(size=(1024, 1024)).astype(np.float32)
  seconds = []
  for _ in range(10):
    began = time.process_time()
    a @ a
    seconds.append(time.process_time() - began)
  return 2 * 1024**3 / min(seconds)


def measure_expert(name: str, seconds: float, actions: int) -> Iterator[dict[str, Any]]:
  import rlds_builders
  from gato_jax import evaluate

  domain_name, task = name.split(".", 1)
  domain = rlds_builders.get(domain_name)
  environment = domain.make_environment(task)
  expert = domain.make_expert(environment, task)
  simulated, clock, resets = Simulated(), Clock(), Clock()
  simulated.watch(domain_name, expert)
  held, until, seed = 0, math.inf, evaluate.FIRST_SEED
  while len(clock.wall) < actions and time.perf_counter() < until:
    environment.seed(seed)
    timestep = environment.reset()
    resets(lambda s=seed: expert.reset(s))
    if not clock.wall:
      held, until = parameters(expert, environment), time.perf_counter() + seconds
    while not timestep.last() and len(clock.wall) < actions and time.perf_counter() < until:
      simulated.active = True
      action = clock(lambda t=timestep: expert.act(t))
      simulated.active = False
      timestep = environment.step(action)
    seed += 1
  environment.close()
  n, row = len(clock.wall), clock.row()
  yield {
    "task": name, "actor": "expert", "what": type(expert).__name__, "parameters": held, **row,
    "reset_ms": 1000 * float(np.mean(resets.wall)), "flops": None, "flops_at_most": row["cpu_ms"] / 1000 * peak(),
    "look_ahead": simulated.count / n, "look_ahead_unit": simulated.unit,
    "look_ahead_ms": 1000 * simulated.seconds / n,
  }  # fmt: skip


def measure_network(workdir: str, actions: int, act: Any = None) -> Iterator[dict[str, Any]]:
  from gato_jax import agent, demonstrations, model
  from gato_jax.agent import shapes
  from gato_jax.model import flops

  folder = pathlib.Path(workdir)
  policy = agent.Policy(folder)
  act = act or agent.ActConfig(**policy.meta["config"]["act"])
  held = model.count_parameters(model.abstract_params(policy.model_config))
  for task in policy.tasks:
    if policy.spec(task).is_document:
      continue
    engine = policy.engine([task], 1, act)
    engine.compile()
    one, (shape,) = policy.layout(task), shapes.group({task: policy.layout(task)})
    columns, clock, seed = sum(map(len, shape.columns)), Clock(), 0
    episodes = demonstrations.read(folder, task)
    while len(clock.wall) < actions + _WARM_UP:
      observation, done = episodes[seed % len(episodes)]
      engine.start(0, task, seed)
      for step in range(min(len(done), actions + _WARM_UP - len(clock.wall))):
        seen = {key: column[step] for key, column in observation.items()}
        clock(lambda s=seen, t=task, e=engine: e.act({0: e.pack(t, s)}))
      seed += 1
    clock.wall, clock.cpu = clock.wall[_WARM_UP:], clock.cpu[_WARM_UP:]
    row = clock.row()
    memory = 0 if act.memory_steps == 1 else policy.model_config.memory_length
    counted = flops.action(
      policy.model_config, observation=one.observation_length + 1, actions=one.action.size, columns=columns,
      patches=one.patch_count, memory=memory,
    )  # fmt: skip
    yield {
      "task": task, "actor": "gato", "what": workdir, "step": policy.step, "parameters": held, **row, "flops": counted,
      "flops_at_most": row["cpu_ms"] / 1000 * peak(), "look_ahead": 0, "look_ahead_unit": "", "look_ahead_ms": 0.0,
    }  # fmt: skip


def keep(path: pathlib.Path, row: dict[str, Any]) -> None:
  """In place of an earlier row of the same actor and task."""
  key = ("task", "actor", "what") if row["actor"] == "gato" else ("task", "actor")
  rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
  rows = [other for other in rows if [other[k] for k in key] != [row[k] for k in key]]
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text("".join(json.dumps(one) + "\n" for one in [*rows, row]))


def main() -> None:
  args = arguments()
  if args.one:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    kind, name = args.one.split(" ", 1)
    found = (
      measure_expert(name, args.seconds, args.actions) if kind == "expert" else measure_network(name, args.actions)
    )
    for row in found:
      print(json.dumps(row), flush=True)
    return
  one_core = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
  failed = []
  todo = [f"expert {task}" for task in args.tasks.split(",") if task] + [f"gato {folder}" for folder in args.gato]
  for what in todo:
    command = [sys.executable, "-m", "benchmarks.action_cost", f"--one={what}", f"--seconds={args.seconds}"]
    done = subprocess.run(
      [*command, f"--actions={args.actions}"], env=os.environ | one_core, stdout=subprocess.PIPE, text=True
    )
    for line in done.stdout.splitlines():
      with contextlib.suppress(ValueError):  # simulators print, too
        row = json.loads(line)
        keep(args.out, row)
        print(f"{row['task']:34} {row['actor']:7} {row['what'][:16]:16} {row['parameters']:9,} numbers  "
              f"mean {row['ms']:9.3f} ms (p50 {row['ms_p50']:.3f}, cpu {row['cpu_ms']:.3f})  "
              f"{row['look_ahead']:10,.0f} {row['look_ahead_unit']}", flush=True)  # fmt: skip
    if done.returncode:
      failed.append(what)
  if failed:
    sys.exit(f"error: not measured: {', '.join(failed)}; their output is above")


if __name__ == "__main__":
  main()
