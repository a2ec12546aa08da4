"""Trains one network on the config's mixture: python -m experiments.train --config=...

Started again it continues from the newest checkpoint in <workdir>/checkpoints, with the same losses
as if it had never stopped, on as many devices and processes as there are then.

Several processes: on Slurm (srun), GKE and TPU VMs give the same command on every host. Anywhere
else name each process, here the first of two:
python -m experiments.train --config=... --coordinator=HOST:PORT --processes=2 --process=0
All of them read the same data_dir and write to the same workdir, and each must be able to reach
HOST:PORT on process 0.
"""

import contextlib
import dataclasses
import json
import logging
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments import cli
from gato_jax.data import demonstrations, pipeline, prepared, splits, windows
from gato_jax.data.mixture import MixtureConfig
from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig
from gato_jax.storage import lock, paths
from gato_jax.train import (
  checkpoint,
  compiled,
  initial,
  loop,
  multihost,
  optimizer,
  profile,
  provenance,
  resume,
  tracking,
)

_COORDINATOR = flags.DEFINE_string(
  "coordinator",
  None,
  "Address host:port of process 0, for several processes where JAX finds no cluster by itself.",
)
_PROCESSES = flags.DEFINE_integer(
  "processes", None, "With --coordinator: number of processes that train together."
)
_PROCESS = flags.DEFINE_integer(
  "process", None, "With --coordinator: number of this process, counted from 0."
)
_PROFILE = flags.DEFINE_string(
  "profile_steps",
  "",
  "Steps FIRST:LAST whose profiler trace is written to <workdir>/profile, e.g. 100:103.",
)
_TRACKER = flags.DEFINE_enum(
  "tracker",
  "none",
  tracking.TRACKERS,
  "Where metrics go besides TensorBoard; W&B needs `wandb login` or WANDB_MODE=offline.",
)


def main(experiment: cli.Experiment) -> None:
  with multihost.joined(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value):
    level = logging.INFO if multihost.is_first() else logging.WARNING
    logging.getLogger("gato_jax").setLevel(level)

    with contextlib.ExitStack() as stack:
      # One of the run's processes holds the lock for all of them; where it cannot, all of them
      # end with its message.
      multihost.from_first(
        lambda: stack.enter_context(lock.only_writer(experiment.workdir, "train"))
      )
      train(experiment)


def train(experiment: cli.Experiment) -> None:
  """Trains in a process that has joined the others and whose run holds the lock."""
  config, workdir = experiment.config, experiment.workdir
  model_config = experiment.section(GatoConfig, "model")
  train_config = experiment.section(loop.TrainConfig, "train")
  if _PROFILE.value and paths.is_remote(workdir):
    raise GatoError("--profile_steps writes into the workdir, which has to be a directory for that")
  compiled.keep(train_config.compilation_cache, workdir)
  mixture = experiment.section(
    MixtureConfig, "data", name=config.name, weights=experiment.weights, episodes=experiment.subsets
  )

  multihost.from_first(
    lambda: experiment.refuse_stale(
      [*experiment.tasks, *experiment.control_tasks], cli.ACCEPT.value
    )
  )
  # Asked for on all processes: it is an error where no row is left.
  left_out = experiment.left_out()
  if multihost.is_first():
    print("".join(f"{line}\n" for line in left_out), end="", file=sys.stderr)

  text = experiment.text_codec()
  settings = json.loads(config.to_json())
  multihost.check_same("config", json.dumps(settings))
  multihost.check_same("mixture: datasets that are here", json.dumps(mixture.weights))

  def open_input(config: MixtureConfig, split: str) -> pipeline.Input:
    return multihost.together(
      lambda: pipeline.Input(
        config,
        experiment.tfds,
        batch_size=train_config.batch_size,
        text=text,
        max_local_positions=model_config.max_local_positions,
        split=split,
        corrections_dir=experiment.corrections / "tfds",
      )
    )

  inputs = open_input(mixture, "train")
  validation = None
  if train_config.validation_batches:
    # The seed is fixed, so that runs of different seeds are measured on the same windows.
    validation = open_input(dataclasses.replace(mixture, seed=0), "validation")

  played = multihost.together(lambda: _load_played(experiment, inputs.datasets))
  task_specs = inputs.task_specs | {name: data.spec for name, data in played.items()}
  # Corrections become more while the run goes on.
  dataset_sizes = {name: len(inputs.datasets[name]) for name in inputs.expert_windows}
  description = resume.description(settings, task_specs, dataset_sizes)

  steps = checkpoint.saved_steps(workdir / "checkpoints")
  start = provenance.this(
    config.name,
    train_config.seed,
    config_sha256=description["config_sha256"],
    step=max(steps, default=0),
    processes=jax.process_count(),
    devices=jax.device_count(),
    device=jax.devices()[0].device_kind,
  )

  def prepare_workdir() -> None:
    resume.refuse_changes(workdir, description, accept=cli.ACCEPT.value)
    provenance.append(workdir, start)
    _write_demonstrations(workdir, mixture, inputs, played)

  multihost.from_first(prepare_workdir)
  if train_config.branch_from and not steps:
    if experiment.fine_tune.start:
      raise GatoError("train.branch_from and fine_tune.start: a run begins in one place; drop one")
    multihost.from_first(
      lambda: resume.check_changes(
        paths.path(train_config.branch_from), description, accept=cli.ACCEPT.value
      )
    )

  initial_params = None
  # A run that continues has its own parameters.
  if experiment.fine_tune.start and not steps:
    start_workdir = paths.path(experiment.fine_tune.start)
    initial_params = initial.load(start_workdir, model_config, tokenizer=text.model)

  with tracking.tracker(_TRACKER.value, workdir, start=start, config=settings) as track:
    loop.train(
      model_config=model_config,
      train_config=train_config,
      optimizer_config=experiment.section(optimizer.OptimizerConfig, "optimizer"),
      batches=inputs.batches,
      meta={
        "name": config.name,
        "revision": start.revision,
        "shares": inputs.shares,
        **description,
      },
      tokenizer=text.model,
      start=initial_params,
      workdir=workdir,
      component_names=inputs.names,
      profile_steps=profile.parse_steps(_PROFILE.value),
      validation=validation.batches if validation else None,
      track=track,
    )


def _load_played(
  experiment: cli.Experiment, trained: Mapping[str, Any]
) -> dict[str, prepared.PreparedEpisodes]:
  """Loads the datasets of tasks that are played but do not train.

  The checkpoint keeps their specs, and demonstrations to prompt with.
  """
  data_config = experiment.config.data
  datasets = {}
  for task in experiment.control_tasks:
    name = cli.name_of(*task)
    if name in trained:
      continue

    data = prepared.load(
      experiment.tfds,
      name,
      keep=data_config.keep,
      with_returns=data_config.returns,
      chunk=data_config.chunk,
    )
    assert isinstance(data, prepared.PreparedEpisodes), name
    datasets[name] = data

  return datasets


def _write_demonstrations(
  workdir: pathlib.Path,
  mixture: MixtureConfig,
  inputs: pipeline.Input,
  played: Mapping[str, prepared.PreparedEpisodes],
) -> None:
  """Saves the best episodes of each control task, which prompts are taken from.

  Only episodes that train are shown; of tasks that do not train none of the validation split.
  """
  for name, rows in inputs.expert_windows.items():
    if isinstance(rows, windows.EpisodeWindows):
      data = inputs.datasets[name]
      assert isinstance(data, prepared.PreparedEpisodes), name
      _write_best(workdir, name, data, among=rows.episodes)

  for name, data in played.items():
    indices = splits.split_episodes(data, mixture, "train")
    _write_best(workdir, name, data, among=indices)


def _write_best(
  workdir: pathlib.Path, name: str, data: prepared.PreparedEpisodes, among: np.ndarray
) -> None:
  groups = data.groups[data.best_episodes(among=among)].tolist()
  demonstrations.write(workdir, name, data.best(among=among), groups)


if __name__ == "__main__":
  cli.run(main, buckets=True)
