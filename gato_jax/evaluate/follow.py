"""Evaluates a training run while it runs: each new checkpoint, within a time budget."""

import contextlib
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

from gato_jax.errors import GatoError
from gato_jax.evaluate.evaluation import Evaluation
from gato_jax.train import checkpoint

_CACHE_SETTING = "jax_compilation_cache_dir"


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
  """Evaluates checkpoints as they appear, up to the last step or until no new one comes.

  Whenever it is free it takes the newest checkpoint; those that came and went meanwhile are left
  out. One that cannot be read, or is deleted while it is read, is tried again like one that is not
  there yet.

  Args:
    evaluation: Plays and keeps the episodes.
    directory: The checkpoints; may appear later.
    load: Returns the agent.Policy of the newest checkpoint that can be read.
    act: Its ActConfig.
    minutes: Time for playing each checkpoint; 0 to play everything.
    idle_seconds: Time without a new checkpoint after which it returns; 0 to wait for the last one.
    videos: True to record videos of the last step of training.
    say: Called with a line for the user.
    poll_seconds: Time between two looks at the directory.
  """
  done = -1
  total = None
  idle_since = time.monotonic()

  with compiled_once():
    # The number of steps is not known before the first checkpoint has been read.
    while total is None or done < total:
      policy = _newer_policy(directory, load, done=done, say=say)
      if policy is None:
        if idle_seconds and time.monotonic() - idle_since > idle_seconds:
          say(f"evaluate: no new checkpoint in {directory} for {idle_seconds / 60:g} minutes")
          return
        time.sleep(poll_seconds)
        continue

      done = policy.step
      total = policy.meta.get("total_steps")
      todo = evaluation.missing(done)
      left = evaluation.play(todo, f"step {done}", policy=policy, act=act, minutes=minutes)
      say(f"evaluate: step {done}: {len(todo) - left} of {len(todo)} missing episodes played")

      if videos and total is not None and done >= total:
        evaluation.record_videos(policy, act)
      idle_since = time.monotonic()

  say(f"evaluate: step {done} is the last of the run")


@contextlib.contextmanager
def compiled_once() -> Iterator[None]:
  """Keeps compiled programs in a directory while it is open.

  The checkpoints of a run have the same programs, and differ in their numbers only.
  """
  # The user has chosen a directory.
  if getattr(jax.config, _CACHE_SETTING):
    yield
    return

  with tempfile.TemporaryDirectory() as directory:
    jax.config.update(_CACHE_SETTING, directory)
    try:
      yield
    finally:
      jax.config.update(_CACHE_SETTING, None)


def _newer_policy(
  directory: pathlib.Path, load: Callable[[], Any], done: int, say: Callable[[str], None]
) -> Any:
  """Returns the policy of a checkpoint after step `done`; None if there is none yet."""
  if max(checkpoint.saved_steps(directory), default=-1) <= done:
    return None

  try:
    policy = load()
  except GatoError as e:
    say(f"evaluate: {e}")
    return None

  # Where the newest checkpoint cannot be read, load() falls back to the one before, which has been
  # played.
  return policy if policy.step > done else None
