"""A profiler trace of some steps: what the devices and the host do when."""

import logging
import pathlib
from typing import Any

import jax

from gato_jax.errors import GatoError

_log = logging.getLogger(__name__)


def parse_steps(text: str) -> tuple[int, int] | None:
  """ "100:103" -> (100, 103), both included; "100" -> (100, 100); "" -> None.

  Raises:
    GatoError: anything else.
  """
  if not text:
    return None
  first, _, last = text.partition(":")
  try:
    steps = int(first), int(last or first)
  except ValueError as e:
    raise GatoError(f"profile_steps={text!r} is not FIRST:LAST, two step numbers such as 100:103") from e
  if not 0 < steps[0] <= steps[1]:
    raise GatoError(f"profile_steps={text!r}: the first step is at least 1 and not after the last")
  return steps


class Profiler:
  """Traces the steps first to last into `directory`; close() ends a trace that is under way."""

  def __init__(self, steps: tuple[int, int] | None, directory: pathlib.Path):
    self._first, self._last = steps or (0, 0)
    self._directory, self._running = directory, False

  def before(self, step: int) -> None:
    if step == self._first:
      jax.profiler.start_trace(self._directory, create_perfetto_trace=True)
      self._running = True

  def after(self, step: int, measured: Any) -> None:
    """`measured`: arrays that are ready when the step is done."""
    if self._running and step == self._last:
      jax.block_until_ready(measured)
      self.close()

  def close(self) -> None:
    if self._running:
      self._running = False
      jax.profiler.stop_trace()
      _log.warning(
        "profile: %s; open its perfetto_trace.json.gz in ui.perfetto.dev, or the folder in xprof", self._directory
      )
