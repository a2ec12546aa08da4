"""Draws which steps of an episode a sample and its prompt show, and pieces of documents."""

import numpy as np

from gato_jax.data.mixture import MixtureConfig
from gato_jax.tokens import layout


def draw_prompt(
  random: np.random.Generator, count: int, length: int, config: MixtureConfig
) -> list[tuple[int, int]]:
  """Draws which `count` steps of an episode of `length` are its prompt, as ranges [start, stop)."""
  is_end = random.random() < config.prompt_end_probability

  # Drawn only where it is asked for, so that other runs keep their draws.
  spread = config.prompt_spread_probability
  if spread and random.random() < spread:
    return [(step, step + 1) for step in layout.spread_steps(length, count).tolist()]

  start = length - count if is_end else int(random.integers(length - count + 1))
  return [(start, start + count)]


def draw_window(random: np.random.Generator, room: int, length: int) -> tuple[int, int]:
  """Draws a window [start, stop) of at most `room` items of `length`, each equally likely.

  The window may overhang both ends and is cut there. With starts inside only, the first and last
  items, on which acting depends most, would hardly be seen.
  """
  start = int(random.integers(1 - room, length))
  return max(0, start), min(length, start + room)


def draw_strided(
  random: np.random.Generator, room: int, length: int, stride: int
) -> list[tuple[int, int]]:
  """Draws a step of `length` and up to `room` - 1 before it, `stride` apart, as ranges of one step.

  Each step is equally likely to be the last; its history is shorter where the episode begins.
  """
  last = int(random.integers(length))
  count = min(room, 1 + last // stride)
  first = last - (count - 1) * stride

  return [(step, step + 1) for step in range(first, last + 1, stride)]
