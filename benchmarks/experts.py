"""Size of an expert, and the simulation that its planner does; for benchmarks/action_cost.py."""

import functools
import inspect
import time
import types
from collections.abc import Callable
from typing import Any

import numpy as np

# Packages that the classes of experts come from.
_EXPERT_PACKAGES = ("rlds_builders", "metaworld.policies", "minigrid.utils.baby_ai_bot")

# Endings of the modules that simulate: their objects are no part of an expert.
_SIMULATORS = (".environment", ".first_person", ".playroom_world", ".levels", ".rooms", ".arena")

# Methods of Atari's emulator that its search calls.
_EMULATOR_METHODS = (
  "act",
  "cloneState",
  "game_over",
  "getRAM",
  "lives",
  "restoreState",
  "reset_game",
)


class Simulated:
  """Counter of the steps that a planner simulates while `active`, and of the seconds they take.

  Attributes:
    active: True while the expert acts; the environment's own steps do not count.
    count: Number of simulated units.
    seconds: Seconds spent on them.
    unit: Name of the unit.
  """

  def __init__(self):
    self.active = False
    self.count = 0
    self.seconds = 0.0
    self.unit = ""

  def wrap(
    self, call: Callable[..., Any], unit: str, size: Callable[..., int]
  ) -> Callable[..., Any]:
    """Returns `call` with a counter; `size` of its arguments is the number of units of one call."""

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
      # The emulator is a C++ object, whose methods cannot be replaced: a proxy stands for it.
      emulator = expert._search._emulator
      methods = {name: getattr(emulator, name) for name in _EMULATOR_METHODS}
      methods["act"] = self.wrap(emulator.act, "frames", size=lambda *a: 1)
      expert._search._emulator = types.SimpleNamespace(**methods)
    elif domain == "procgen":
      from rlds_builders.procgen import environment

      environment.Games.act = self.wrap(
        environment.Games.act, "game steps", size=lambda games, actions: len(actions)
      )
    elif domain == "sokoban":
      from rlds_builders.sokoban import expert as sokoban

      # A generator: its work is done while it is read, so boards are counted and their time is not.
      search = sokoban._Search
      search.successors = self.wrap(search.successors, "boards", size=lambda *a: 1)
    else:
      import mujoco
      from mujoco import rollout

      # Controls of a rollout are [rollouts, steps, ...].
      def steps(model: Any, data: Any, initial: np.ndarray, control: np.ndarray, *rest: Any) -> int:
        return control.shape[0] * control.shape[1]

      rollout.rollout = self.wrap(rollout.rollout, "physics steps", size=steps)
      mujoco.mj_step = self.wrap(
        mujoco.mj_step, "physics steps", size=lambda model, data, nstep=1: nstep
      )


def parameters(expert: Any, environment: Any) -> int:
  """Returns the numbers that an expert holds, by the rule of benchmarks/action_cost.py."""
  # Objects and classes count once, however many attributes refer to them.
  seen = {id(environment)}
  classes: set[type] = set()

  def visit(value: Any) -> int:
    if _is_number(value):
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

    # A closure holds numbers in its cells.
    if isinstance(value, types.FunctionType) and value.__module__.startswith(_EXPERT_PACKAGES):
      cells = value.__closure__ or ()
      return _literals(value.__code__) + sum(visit(cell.cell_contents) for cell in cells)

    kind = type(value)
    if not kind.__module__.startswith(_EXPERT_PACKAGES) or kind.__module__.endswith(_SIMULATORS):
      return 0

    count = 0
    if kind not in classes:
      classes.add(kind)
      count += _literals_of_methods(kind)

    slots = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ())]
    attributes = dict(getattr(value, "__dict__", {}))
    attributes |= {name: getattr(value, name, None) for name in slots}
    return count + sum(map(visit, attributes.values()))

  return visit(expert)


def _literals_of_methods(kind: type) -> int:
  """Counts the literals in the methods of a class and its bases.

  Those of __init__ are not counted: they are attributes afterwards.
  """
  total = 0
  for base in kind.__mro__:
    if not base.__module__.startswith(_EXPERT_PACKAGES):
      continue

    for name, member in vars(base).items():
      if name == "__init__":
        continue

      # The function behind a class or static method (__func__), a property (fget), a decorator.
      function = getattr(member, "__func__", getattr(member, "fget", member))
      function = inspect.unwrap(function)
      if isinstance(function, types.FunctionType):
        total += _literals(function.__code__)

  return total


def _literals(code: types.CodeType) -> int:
  """Counts the distinct numeric literals of a function and of the functions inside it."""
  total = 0
  for constant in code.co_consts:
    if isinstance(constant, types.CodeType):
      total += _literals(constant)
    elif isinstance(constant, tuple):
      total += sum(map(_is_number, constant))
    else:
      total += _is_number(constant)

  return total


def _is_number(value: Any) -> bool:
  return isinstance(value, int | float | np.number) and not isinstance(value, bool)
