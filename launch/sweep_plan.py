"""Plans the runs of a sweep as jobs, from the losses of those that have ended."""

import pathlib
from collections.abc import Mapping, Sequence

from experiments import cli
from experiments.analysis.scaling import design, family, forecast, points
from experiments.analysis.scaling import runs as sweep_runs
from experiments.analysis.scaling.batches import BatchContent
from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig
from gato_jax.train import optimizer
from launch import jobs
from launch.sweep_runs import SweepRow


class Planner:
  """The plan of a sweep; with budgets it grows while the sweep goes on (scaling/design.py)."""

  def __init__(
    self,
    experiment: cli.Experiment,
    argv: Sequence[str],
    content: BatchContent,
    more: Sequence[str] = (),
    verb: str = "train",
  ):
    """Prepares the plan.

    Args:
      experiment: The sweep's experiment.
      argv: Arguments of the command, for its overrides.
      content: Of the mixture's batches.
      more: Flags of the verb.
      verb: "train" or "evaluate".

    Raises:
      GatoError: The command has no --config.
    """
    configs = [a.removeprefix("--config=") for a in argv if a.startswith("--config=")]
    if not configs:
      raise GatoError("--config=experiments/configs/NAME.py is missing")

    self.config: sweep_runs.SweepConfig = experiment.section(sweep_runs.SweepConfig, "scaling")
    self.content = content
    self._experiment = experiment
    self._path = configs[-1]
    self._verb = verb
    self._model: GatoConfig = experiment.section(GatoConfig, "model")
    self._optimizer: optimizer.OptimizerConfig = experiment.section(
      optimizer.OptimizerConfig, "optimizer"
    )
    self._design = design.Design(
      self.config,
      flops_per_token=lambda width: self.flops_per_token(family.network(width)),
      patch_channels=self._model.patch_channels,
      batch_tokens=content.tokens,
    )

    # Every run has a workdir of its own, inside the one that was given.
    given = [a for a in argv if a.startswith("--config.") and not a.startswith("--config.workdir=")]
    self._flags = (*more, *given)

  def flops_per_token(self, network: Mapping[str, object]) -> float:
    """Returns the training FLOPs per token of a network, given as fields of GatoConfig."""
    return self.content.flops_per_token(GatoConfig(**{**self._model.to_json(), **network}))

  def flops(self, run: sweep_runs.SweepRun) -> float:
    """Returns the training FLOPs of a run."""
    return self.flops_per_token(run.network) * run.steps(self.content.tokens) * self.content.tokens

  def parameters(self, run: sweep_runs.SweepRun) -> tuple[int, int]:
    """Returns (all parameters, those of tables) of a run's network."""
    return points.count(GatoConfig(**{**self._model.to_json(), **run.network}))

  def forecast(self, measured: Sequence[points.ScalingPoint]) -> str:
    """Returns what the sweep costs and what its points can determine, for people to read."""
    return forecast.text(
      self.config,
      self._design,
      measured,
      sweep_runs.grid(self.config),
      parameters=lambda run: self.parameters(run)[0] - self.parameters(run)[1],
      flops=self.flops,
    )

  def stages(self, losses: Mapping[str, float]) -> list[design.Stage]:
    """Returns the budgets that can be planned, from the losses of the runs, by name."""
    return self._design.stages(losses)

  def runs(self, losses: Mapping[str, float]) -> list[sweep_runs.SweepRun]:
    """Returns all runs that can be planned, the cheap ones first."""
    of_budgets = [run for stage in self.stages(losses) for run in stage.runs]
    return [*sweep_runs.grid(self.config), *of_budgets]

  def is_complete(self, losses: Mapping[str, float]) -> bool:
    """Returns True if no run follows those that are planned."""
    stages = self.stages(losses)
    return len(stages) == len(self.config.budgets) and all(stage.finished for stage in stages)

  def rows(self, losses: Mapping[str, float]) -> list[SweepRow]:
    """Returns the runs as jobs, before the backend was asked about any of them."""
    planned = self.runs(losses)
    return [self._row(run, self._branched_from(run, planned)) for run in planned]

  def _row(self, run: sweep_runs.SweepRun, source: sweep_runs.SweepRun | None) -> SweepRow:
    workdir = self._workdir(run)
    changed = sweep_runs.settings(
      run,
      self.content.tokens,
      peak_learning_rate=self._optimizer.peak_learning_rate,
      branch_from=str(self._workdir(source)) if source else "",
    )
    overrides = (*self._flags, *sweep_runs.overrides(changed), f"--config.workdir={workdir}")

    # Names of jobs have no underscores and no points. Jobs that play a run and that train it are
    # two.
    name = f"{self._experiment.config.name}-{run.name}".replace("_", "-").replace(".", "p")
    if self._verb != "train":
      name += f"-{self._verb}"

    return SweepRow(
      run,
      jobs.Job(name, self._path, overrides=overrides, verb=self._verb),
      workdir=workdir,
      steps=run.steps(self.content.tokens),
      work=self.flops(run),
      after=source.name if source and self._verb == "train" else "",
    )

  def _workdir(self, run: sweep_runs.SweepRun) -> pathlib.Path:
    return self._experiment.workdir / run.name

  def _branched_from(
    self, run: sweep_runs.SweepRun, planned: Sequence[sweep_runs.SweepRun]
  ) -> sweep_runs.SweepRun | None:
    """Returns the longest shorter run whose stable part a run shares, None for none."""
    if not self.config.branch or run.schedule or self._optimizer.schedule != "wsd":
      return None

    def warmup(of: sweep_runs.SweepRun) -> int:
      return optimizer.warmup(self._optimizer, of.steps(self.content.tokens))

    def identity(of: sweep_runs.SweepRun) -> tuple:
      return of.width, of.variant, of.seed, of.rate, of.schedule

    shorter = [
      other
      for other in planned
      if identity(other) == identity(run)
      and other.tokens < run.tokens
      and warmup(other) == warmup(run)
    ]
    return max(shorter, key=lambda other: other.tokens, default=None)
