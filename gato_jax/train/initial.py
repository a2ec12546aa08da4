"""Loads the parameters of another run for fine-tuning (Reed et al. 2022, section 5.2)."""

import logging
import pathlib
from typing import Any

import jax

from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig
from gato_jax.train import export, resume

_log = logging.getLogger(__name__)


def load(workdir: pathlib.Path, config: GatoConfig, tokenizer: bytes) -> Any:
  """Returns the parameters of another run's newest checkpoint or of exported ones, on the host.

  Args:
    workdir: The other run's, or an exported folder.
    config: The model of this run.
    tokenizer: The tokenizer of this run, serialised.

  Raises:
    GatoError: There is no checkpoint, or it has another network or another tokenizer.
  """
  params, meta, step = export.load(workdir)

  # Settings that are newer than the checkpoint had their defaults.
  others = GatoConfig.from_json(meta["model"]).to_json()
  for name, value in config.to_json().items():
    if others[name] != value and resume.is_fixed(f"model.{name}"):
      raise GatoError(
        f"fine_tune.start={workdir} has model.{name}={others[name]}, this run {value}; "
        "give both the same"
      )

  if meta["tokenizer"] != tokenizer:
    raise GatoError(
      f"fine_tune.start={workdir} was trained with another tokenizer; give its --config.tokenizer"
    )

  _log.info("beginning with the parameters of step %d in %s", step, workdir)
  return jax.device_get(params)
