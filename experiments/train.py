"""Trains one network on the config's mixture: python -m experiments.train --config=experiments/configs/demo.py

Started again it continues from the newest checkpoint in <workdir>/checkpoints, with the same losses as if it had
never stopped, on as many devices and processes as there are then.

Several processes: on Slurm (srun), GKE and TPU VMs the same command on every host. Anywhere else tell each process:
python -m experiments.train --config=... --coordinator=HOST:PORT --processes=2 --process=0    and the same with 1
All of them read the same data_dir and write to the same workdir, and each must be able to reach HOST:PORT on process 0.
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
from absl import flags

from experiments import cli
from gato_jax import checkpoint, demonstrations, distributed, lock, provenance
from gato_jax.data import episodes, pipeline, windows
from gato_jax.mixture import MixtureConfig
from gato_jax.model import GatoConfig
from gato_jax.train import initial, loop, optimizer, profile, resume, tracking

_COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0, where JAX finds no cluster by itself.")
_PROCESSES = flags.DEFINE_integer("processes", None, "How many processes train together.")
_PROCESS = flags.DEFINE_integer("process", None, "Which of them this is: 0, 1, ...")
_PROFILE = flags.DEFINE_string(
  "profile_steps", "", "FIRST:LAST, steps of which a profiler trace goes to <workdir>/profile, e.g. 100:103."
)
_TRACKER = flags.DEFINE_enum(
  "tracker", "none", tracking.TRACKERS, "Where the metrics go beside TensorBoard; `wandb login` or WANDB_MODE=offline."
)


def main(experiment: cli.Experiment) -> None:
  with distributed.joined(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value):
    logging.getLogger("gato_jax").setLevel(logging.INFO if distributed.is_first() else logging.WARNING)
    with contextlib.ExitStack() as stack:
      # One of the run's processes holds the lock for all of them; where it cannot, all of them end with its line.
      distributed.from_first(lambda: stack.enter_context(lock.only_writer(experiment.workdir, "train")))
      train(experiment)


def train(experiment: cli.Experiment) -> None:
  config, workdir = experiment.config, experiment.workdir
  model_config = experiment.section(GatoConfig, "model")
  train_config = experiment.section(loop.TrainConfig, "train")
  mixture = experiment.section(
    MixtureConfig, "data", name=config.name, weights=experiment.weights, episodes=experiment.subsets
  )
  distributed.from_first(
    lambda: experiment.refuse_stale([*experiment.tasks, *experiment.control_tasks], cli.ACCEPT.value)
  )
  left_out = experiment.left_out()  # on all processes: it is an error where nothing is left
  if distributed.is_first():
    print("".join(f"{line}\n" for line in left_out), end="", file=sys.stderr)
  text = experiment.text_codec()
  settings = json.loads(config.to_json())
  distributed.check_same("config", json.dumps(settings))
  distributed.check_same("mixture: datasets that are here", json.dumps(mixture.weights))
  inputs = distributed.together(
    lambda: pipeline.Input(mixture, experiment.tfds, train_config.batch_size, text, model_config.max_local_positions)
  )
  held_out = None
  if train_config.held_out_batches:
    fixed = dataclasses.replace(mixture, seed=0)  # runs of other seeds are measured on the same windows
    held_out = distributed.together(
      lambda: pipeline.Input(
        fixed, experiment.tfds, train_config.batch_size, text, model_config.max_local_positions, held_out=True
      )
    )
  played = distributed.together(lambda: _played_besides(experiment, inputs.datasets))
  numbers = {name: len(data) for name, data in inputs.datasets.items()}
  all_specs = inputs.task_specs | {name: data.spec for name, data in played.items()}
  description = resume.description(settings, all_specs, numbers)

  steps = checkpoint.saved_steps(workdir / "checkpoints")
  start = provenance.this(
    config.name, train_config.seed, description["config_sha256"], max(steps, default=0), jax.process_count(),
    jax.device_count(), jax.devices()[0].device_kind,
  )  # fmt: skip

  def prepare() -> None:
    resume.refuse_changes(workdir, description, cli.ACCEPT.value)
    provenance.append(workdir, start)
    # Prompts show episodes that train, and of tasks that do not train none that is held out.
    shown = {name: rows.episodes for name, rows in inputs.windows.items() if isinstance(rows, windows.EpisodeWindows)}
    shown |= {name: windows.split(data.kept, mixture, False, name) for name, data in played.items()}
    for name, indices in shown.items():
      demonstrations.write(workdir, name, (inputs.datasets | played)[name].best(among=indices))

  distributed.from_first(prepare)
  start_from = None
  if experiment.fine_tune.start and not steps:
    start_from = initial.load(pathlib.Path(experiment.fine_tune.start), model_config, text.model)
  with tracking.tracker(_TRACKER.value, workdir, start, settings) as track:
    loop.train(
      model_config=model_config,
      train_config=train_config,
      optimizer_config=experiment.section(optimizer.OptimizerConfig, "optimizer"),
      batches=inputs.batches,
      meta={"name": config.name, "revision": start.revision, "shares": inputs.shares, **description},
      tokenizer=text.model,
      start=start_from,
      workdir=workdir,
      component_names=inputs.names,
      profile_steps=profile.parse_steps(_PROFILE.value),
      held_out=held_out.batches if held_out else None,
      track=track,
    )


def _played_besides(experiment: cli.Experiment, trained: Mapping[str, Any]) -> dict[str, episodes.Episodes]:
  """Of the tasks that are played but do not train: their checkpoint keeps their specs, and demonstrations to prompt."""
  names = [cli.name_of(*one) for one in experiment.control_tasks]
  data = experiment.config.data
  return {name: episodes.load(experiment.tfds, name, data.keep, data.returns) for name in names if name not in trained}


if __name__ == "__main__":
  cli.run(main)
