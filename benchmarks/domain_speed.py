"""Speed of an image domain: python -m benchmarks.domain_speed --domain=procgen

A minute, after experiments.check. Frames a second are steps with uniformly random actions, resets
included: of the simulator alone as its authors publish it, and of our environment, which resizes,
draws or wraps. The two are played in turns in one process on one core and their ratio is taken turn
by turn, so that other work on the machine hits both. Windows a second are rows of L tokens from the
built dataset through the whole training input (seqio, packing, tokens), on one core, in a process
of its own.

Rows go to --output, one a task, in place of an earlier one.
"""

import argparse
import contextlib
import io
import json
import os
import pathlib
import platform
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import experiments  # noqa: F401  it quiets TensorFlow
from benchmarks import input_pipeline

_TURNS = 5
_BATCH = 16


def _gymnasium(environment: Any) -> Callable[[], None]:
  """Returns a step with a random action, of an environment of gymnasium as it comes."""
  environment.reset(seed=0)

  def step() -> None:
    _, _, terminated, truncated, _ = environment.step(environment.action_space.sample())
    if terminated or truncated:
      environment.reset()

  return step


def _atari(game: str) -> Callable[[], None]:
  from rlds_builders.atari import environment as atari

  emulator = atari.make(game).emulator
  actions = emulator.getLegalActionSet()
  random = np.random.default_rng(0)

  def step() -> None:
    emulator.act(actions[random.integers(len(actions))])
    if emulator.game_over():
      emulator.reset_game()

  return step


def _babyai(level: str) -> Callable[[], None]:
  from rlds_builders.babyai import environment as babyai

  return _gymnasium(babyai.make(level).gym)


def _doom(scenario: str) -> Callable[[], None]:
  from rlds_builders.labyrinth import environment

  doom = environment.make(scenario)
  doom.reset()
  game = doom.game
  random = np.random.default_rng(0)

  def step() -> None:
    game.make_action([random.integers(-4, 5), random.integers(2)], 4)
    if game.is_episode_finished():
      game.new_episode()

  # The step keeps the environment alive, whose end removes its folder.
  step.environment = doom
  return step


def _miniworld(task: str) -> Callable[[], None]:
  if task.startswith("doom_"):
    return _doom(task)
  from rlds_builders.worlds import first_person

  # MiniWorld's level of the name, or that which is most like it.
  name = {"four_rooms": "FourRooms", "pickup_objects": "PickupObjects"}.get(task, "RoomObjects")
  return _gymnasium(getattr(first_person.envs, name)())


def _procgen(game: str) -> Callable[[], None]:
  from rlds_builders.procgen import environment as procgen

  games = procgen.Games(game, 1)
  random = np.random.default_rng(0)
  return lambda: games.act(random.integers(procgen.ACTIONS, size=1, dtype=np.int32))


# The simulator alone; Sokoban has none but ours.
_SIMULATORS: dict[str, Callable[[str], Callable[[], None]]] = {
  "atari": _atari,
  "atari_extended": _atari,
  "babyai": _babyai,
  "labyrinth": _miniworld,
  "playroom": _miniworld,
  "procgen": _procgen,
}


def _ours(domain: str, task: str) -> Callable[[], None]:
  import rlds_builders

  environment = rlds_builders.get(domain).make_environment(task)
  spec, random = environment.action_spec(), np.random.default_rng(0)
  environment.seed(0)
  environment.reset()

  # After a last step, step() begins the next episode.
  return lambda: environment.step(np.asarray(random.integers(spec.num_values), spec.dtype))


def _rate(step: Callable[[], None], seconds: float) -> float:
  began, steps = time.perf_counter(), 0
  while time.perf_counter() - began < seconds:
    step()
    steps += 1

  return steps / (time.perf_counter() - began)


def _spread(values: list[float]) -> dict[str, float]:
  return {"median": float(np.median(values)), "low": min(values), "high": max(values)}


def frames(domain: str, task: str, seconds: float) -> Iterator[dict[str, dict[str, float]]]:
  """Yields the frames a second of our environment and, where there is one, of the simulator."""
  rates: dict[str, list[float]] = {}

  # BabyAI's generator prints what it rejects.
  with contextlib.redirect_stdout(io.StringIO()):
    players = {"environment": _ours(domain, task)}
    if domain in _SIMULATORS:
      players["simulator"] = _SIMULATORS[domain](task)
    rates |= {name: [] for name in players}

    # The first turn warms up.
    for turn in range(_TURNS + 1):
      for name, step in players.items():
        rate = _rate(step, seconds / _TURNS)
        if turn:
          rates[name].append(rate)

  for name, values in rates.items():
    yield {f"{name} frames/s": _spread(values)}
  if "simulator" in rates:
    yield {"ratio": _spread(np.divide(rates["environment"], rates["simulator"]).tolist())}


def windows(
  domain: str, task: str, data_dir: str, length: int, seconds: float
) -> Iterator[dict[str, dict[str, float]]]:
  """Yields the windows a second of the built dataset."""
  from gato_jax.data import pipeline
  from gato_jax.data.mixture import MixtureConfig
  from gato_jax.tokens import codec

  config = MixtureConfig(weights={f"{domain}.{task}": 1.0}, sequence_length=length)
  data = pipeline.Input(
    config, pathlib.Path(data_dir) / "tfds", _BATCH, codec.default_text_codec(), 512
  )
  batches = data.batches()
  rates = [_rate(lambda: next(batches), seconds / _TURNS) * _BATCH for _ in range(_TURNS + 1)]

  # The first turn warms up.
  yield {"windows/s": _spread(rates[1:])}


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--domain", required=True)
  parser.add_argument("--tasks", help="comma-separated; the first task by default")
  parser.add_argument(
    "--data_dir", default="data", help="where experiments.check or build wrote tfds/"
  )
  parser.add_argument("--sequence_length", type=int, default=1024)
  parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
  parser.add_argument("--output", default="results/domain_speed.jsonl")
  args = parser.parse_args()

  import rlds_builders

  tasks = args.tasks.split(",") if args.tasks else [rlds_builders.get(args.domain).tasks[0]]
  path = pathlib.Path(args.output)
  rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
  for task in tasks:
    row: dict[str, Any] = {"domain": args.domain, "task": task, "length": args.sequence_length}
    for measured in (
      *input_pipeline.in_a_process(1, frames, args.domain, task, args.seconds),
      *input_pipeline.in_a_process(
        1, windows, args.domain, task, args.data_dir, args.sequence_length, args.seconds
      ),
    ):
      row |= measured

    row["machine"] = f"{platform.machine()}, one of {os.cpu_count()} cores, others busy"
    rows = [old for old in rows if (old["domain"], old["task"]) != (args.domain, task)] + [row]
    path.write_text(
      "".join(
        json.dumps(old) + "\n" for old in sorted(rows, key=lambda r: (r["domain"], r["task"]))
      )
    )

    for name, value in row.items():
      if isinstance(value, dict):
        median, low, high = (
          f"{value[key]:,.{2 if name == 'ratio' else 0}f}" for key in ("median", "low", "high")
        )
        print(f"{args.domain}.{task}: {median} {name} ({low} to {high})")


if __name__ == "__main__":
  main()
