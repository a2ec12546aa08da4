"""Parameters of another run to begin with: fine-tuning (Reed et al. 2022, section 5.2)."""

import logging
import pathlib
from typing import Any

import jax

from gato_jax import checkpoint
from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig
from gato_jax.train import resume

_log = logging.getLogger(__name__)


def load(workdir: pathlib.Path, config: GatoConfig, tokenizer: bytes) -> Any:
  """The parameters of the newest checkpoint of the run in `workdir`, on the host.

  Raises:
    GatoError: there is none, it is of another network, or reads texts with another tokenizer.
  """
  params, meta, step = checkpoint.load_for_acting(workdir / "checkpoints")
  for name, value in config.to_json().items():
    theirs = meta["model"].get(name, value)
    if theirs != value and resume.is_fixed(f"model.{name}"):
      raise GatoError(f"fine_tune.start={workdir} has model.{name}={theirs}, this run {value}; give both the same")
  if meta["tokenizer"] != tokenizer:
    raise GatoError(f"fine_tune.start={workdir} was trained with another tokenizer; give its --config.tokenizer")
  _log.info("beginning with the parameters of step %d in %s", step, workdir)
  return jax.device_get(params)
