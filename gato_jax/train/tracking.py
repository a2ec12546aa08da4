"""Weights & Biases beside TensorBoard, where somebody asks for it. A tracker that fails ends no training.

It holds it up for a minute at the start and two at the end at most.
"""

import contextlib
import logging
import pathlib
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from gato_jax import distributed, files, provenance
from gato_jax.train.metrics import Track

TRACKERS = ("none", "wandb")
_log = logging.getLogger(__name__)
_ID = "wandb_id"  # in the workdir: a run that is started again goes on in the same run there
_START_SECONDS, _FINISH_SECONDS = 60, 120


@contextlib.contextmanager
def tracker(kind: str, workdir: pathlib.Path, start: provenance.Start, config: Mapping[str, Any]) -> Iterator[Track]:
  """A function that takes rows with a "step", as metrics.jsonl has them; what fails is said once, and training goes on.

  Only the first process tracks. `WANDB_MODE=offline` keeps the run in workdir/wandb, for `wandb sync` later.

  Args:
    kind: one of TRACKERS. start: stands in the run's config beside `config`, the resolved one.
  """
  if kind == "none" or not distributed.is_first():
    yield lambda row: None
    return
  tracked = _Softly(workdir, start, config)
  try:
    yield tracked.log
  except BaseException:
    tracked.finish(1)
    raise
  tracked.finish(0)


class _Softly:
  """A run of wandb, until something about it fails."""

  def __init__(self, workdir: pathlib.Path, start: provenance.Start, config: Mapping[str, Any]):
    self._run: Any = None
    with self._or_never("start"):
      import wandb  # optional, and slow to import

      path = workdir / _ID
      if not path.exists():
        files.write(path, secrets.token_hex(8))
      settings = wandb.Settings(
        login_timeout=1, init_timeout=_START_SECONDS, finish_timeout=_FINISH_SECONDS, finish_timeout_raises=False,
        console="off", disable_git=True, silent=True,
      )  # fmt: skip
      self._run = wandb.init(
        project="gato_jax", name=workdir.name, id=path.read_text(), resume="allow", dir=str(workdir), settings=settings,
        config={**config, "start": {**vars(start)}},
      )  # fmt: skip
      # A run that goes back or on logs a step again; wandb's own count only ever grows, so steps are a value here.
      self._run.define_metric("*", step_metric="step")
      _log.info("wandb: %s", f"offline, in {self._run.dir}" if self._run.offline else self._run.url)

  @contextlib.contextmanager
  def _or_never(self, what: str) -> Iterator[None]:
    try:
      yield
    except ImportError as e:
      _log.warning("wandb is not installed here (%s), so nothing is tracked: pip install wandb", e)
    except Exception as e:  # whatever a service or its client does is no reason to lose a training run
      self._run = None
      said = " ".join(str(e).split())
      _log.warning("wandb failed to %s (%s: %s); it is off, training goes on", what, type(e).__name__, said)

  def log(self, row: Mapping[str, Any]) -> None:
    if self._run is not None:
      with self._or_never("log"):
        self._run.log(dict(row))

  def finish(self, status: int) -> None:
    if self._run is not None:
      with self._or_never("finish"):
        self._run.finish(status)
