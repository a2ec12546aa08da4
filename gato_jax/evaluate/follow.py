"""Evaluating a training run while it runs: each new checkpoint, within a time budget."""

import contextlib
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

from gato_jax import checkpoint
from gato_jax.errors import GatoError
from gato_jax.evaluate.evaluation import Evaluation


def follow(
  evaluation: Evaluation,
  directory: pathlib.Path,
  load: Callable[[], Any],
  act: Any,
  *,
  minutes: float,
  idle_seconds: float,
  videos: bool,
  say: Callable[[str], None] = print,
  poll_seconds: float = 2.0,
) -> None:
  """Returns when the last step of training has been evaluated, or when nothing new came for `idle_seconds`.

  Whenever it is free it takes the newest checkpoint; those that came and went meanwhile are left out. One that cannot
  be read, or is deleted while it is read, is tried again like one that is not there yet.

  Args:
    directory: of the checkpoints; may appear later. load: the policy of the newest one that can be read.
    minutes: of playing each of them; 0: until everything is played.
  """
  done, total, idle_since = -1, None, time.monotonic()
  with compiled_once():
    while total is None or done < total:
      policy = _newer(directory, load, done, say)
      if policy is None:
        if time.monotonic() - idle_since > idle_seconds:
          say(f"evaluate: no new checkpoint in {directory} for {idle_seconds / 60:g} minutes")
          return
        time.sleep(poll_seconds)
        continue
      done, total = policy.step, policy.meta.get("total_steps")
      todo = evaluation.missing(done)
      left = evaluation.play(todo, f"step {done}", policy, act, minutes)
      say(f"evaluate: step {done}: {len(todo) - left} of {len(todo)} missing episodes played")
      if videos and total is not None and done >= total:
        evaluation.film(policy, act)
      idle_since = time.monotonic()
  say(f"evaluate: step {done} is the last of the run")


@contextlib.contextmanager
def compiled_once() -> Iterator[None]:
  """Within it programs are kept in a folder: those of the next checkpoint are the same, its numbers differ."""
  if jax.config.jax_compilation_cache_dir:  # the user has one
    yield
    return
  with tempfile.TemporaryDirectory() as folder:
    jax.config.update("jax_compilation_cache_dir", folder)
    try:
      yield
    finally:
      jax.config.update("jax_compilation_cache_dir", None)


def _newer(directory: pathlib.Path, load: Callable[[], Any], done: int, say: Callable[[str], None]) -> Any:
  """The policy of a checkpoint after step `done`, None where there is none yet."""
  if max(checkpoint.saved_steps(directory), default=-1) <= done:
    return None
  try:
    policy = load()
  except GatoError as e:
    say(f"evaluate: {e}")
    return None
  return policy if policy.step > done else None  # the newest could not be read, the one before is known
