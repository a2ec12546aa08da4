"""Writes a profiler trace of some training steps: the work of devices and host over time."""

import logging
import pathlib
from typing import Any

import jax

from gato_jax.errors import GatoError

_log = logging.getLogger(__name__)


def parse_steps(text: str) -> tuple[int, int] | None:
  """Parses a range of steps, both ends included.

  "100:103" -> (100, 103); "100" -> (100, 100); "" -> None.

  Raises:
    GatoError: The text is anything else.
  """
  if not text:
    return None

  first, _, last = text.partition(":")
  try:
    steps = int(first), int(last or first)
  except ValueError as e:
    raise GatoError(
      f"profile_steps={text!r} is not FIRST:LAST, two step numbers such as 100:103"
    ) from e

  if not 0 < steps[0] <= steps[1]:
    raise GatoError(f"profile_steps={text!r}: the first step is at least 1 and not after the last")
  return steps


class Profiler:
  """Traces a range of training steps."""

  def __init__(self, steps: tuple[int, int] | None, directory: pathlib.Path):
    """Prepares a trace.

    Args:
      steps: First and last step, both included; None for no trace.
      directory: Receives the trace.
    """
    self._first, self._last = steps or (0, 0)  # steps count from 1, so 0 never comes
    self._directory = directory
    self._running = False

  def before(self, step: int) -> None:
    """Starts the trace before its first step."""
    if step == self._first:
      jax.profiler.start_trace(self._directory, create_perfetto_trace=True)
      self._running = True

  def after(self, step: int, measured: Any) -> None:
    """Ends the trace after its last step.

    Args:
      step: The step that was dispatched.
      measured: Arrays that are ready when the step is done.
    """
    if self._running and step == self._last:
      jax.block_until_ready(measured)
      self.close()

  def close(self) -> None:
    """Ends a trace in progress and logs its path."""
    if not self._running:
      return

    self._running = False
    jax.profiler.stop_trace()
    _log.warning(
      "profile: %s; open its perfetto_trace.json.gz in ui.perfetto.dev, or the folder in xprof",
      self._directory,
    )
