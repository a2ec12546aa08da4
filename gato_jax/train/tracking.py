"""Weights & Biases beside TensorBoard, on request. A tracker that fails never ends a training.

It delays a run by a minute at the start and two at the end at most.
"""

import contextlib
import logging
import pathlib
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from gato_jax.storage import files, paths
from gato_jax.train import multihost, provenance
from gato_jax.train.metrics import Track

TRACKERS = ("none", "wandb")
_log = logging.getLogger(__name__)
# File in the workdir with the id of the run in wandb, which a run that is started again continues.
_ID_FILE = "wandb_id"
_START_SECONDS, _FINISH_SECONDS = 60, 120


@contextlib.contextmanager
def tracker(
  kind: str, workdir: pathlib.Path, start: provenance.Start, config: Mapping[str, Any]
) -> Iterator[Track]:
  """Yields a function that takes rows with a "step", as metrics.jsonl has them.

  Failures are logged once, and training goes on. Only the first process tracks. With
  `WANDB_MODE=offline` the run stays in workdir/wandb, for `wandb sync` later.

  Args:
    kind: One of TRACKERS.
    workdir: Directory of the run.
    start: Is added to the config in wandb.
    config: The resolved one.
  """
  if kind == "none" or not multihost.is_first():
    yield lambda row: None
    return

  run = _WandbRun(workdir, start, config=config)
  try:
    yield run.log
  except BaseException:
    run.finish(exit_status=1)
    raise
  run.finish(exit_status=0)


class _WandbRun:
  """A run of wandb, which does nothing after the first failure."""

  def __init__(self, workdir: pathlib.Path, start: provenance.Start, config: Mapping[str, Any]):
    self._run: Any = None
    with self._stop_on_failure("start"):
      import wandb  # optional, and slow to import

      id_path = workdir / _ID_FILE
      if not id_path.exists():
        files.write(id_path, secrets.token_hex(8))

      settings = wandb.Settings(
        login_timeout=1,
        init_timeout=_START_SECONDS,
        finish_timeout=_FINISH_SECONDS,
        finish_timeout_raises=False,
        console="off",
        disable_git=True,
        silent=True,
      )
      self._run = wandb.init(
        project="gato_jax",
        name=workdir.name,
        # The runs of a sweep or of a study have one config.
        group=start.name,
        id=id_path.read_text(),
        resume="allow",
        # A directory: what is synchronised later cannot lie in a bucket.
        dir=None if paths.is_remote(workdir) else str(workdir),
        settings=settings,
        config={**config, "start": {**vars(start)}},
      )

      # A run that is resumed or rolled back logs a step again. wandb's own count only ever grows,
      # so the step is a value of each row here.
      self._run.define_metric("*", step_metric="step")
      _log.info("wandb: %s", f"offline, in {self._run.dir}" if self._run.offline else self._run.url)

  @contextlib.contextmanager
  def _stop_on_failure(self, action: str) -> Iterator[None]:
    """Logs an error inside and switches tracking off; `action` is a verb for the message."""
    try:
      yield
    except ImportError as e:
      _log.warning("wandb is not installed here (%s), so nothing is tracked: pip install wandb", e)
    except Exception as e:
      # No error of a service or of its client is a reason to lose a training run.
      self._run = None
      message = " ".join(str(e).split())
      _log.warning(
        "wandb failed to %s (%s: %s); it is off, training goes on",
        action,
        type(e).__name__,
        message,
      )

  def log(self, row: Mapping[str, Any]) -> None:
    """Logs a row with a "step"."""
    if self._run is not None:
      with self._stop_on_failure("log"):
        self._run.log(dict(row))

  def finish(self, exit_status: int) -> None:
    """Ends the run in wandb, which shows the exit status."""
    if self._run is not None:
      with self._stop_on_failure("finish"):
        self._run.finish(exit_status)
