"""Trains on the expert's corrections of the policy: python -m experiments.dagger --config=...

Rounds are spread evenly over one training run. In each of them the training pauses, the newest
checkpoint plays every task, and the task's expert, run beside it from the reset, says what it would
have done in every state (DAgger, Ross et al. 2011). Those episodes join the mixture with a share of
their own (data.corrections), and the training goes on.

The same command continues where it stopped. The experts must have collected and the datasets been
built before (experiments.collect, experiments.build).
"""

import dataclasses
import signal
import subprocess
import sys

from absl import flags

from experiments import cli
from gato_jax import agent, evaluate, progress
from gato_jax.domain import SimulatedDomain
from gato_jax.env.results import Failure
from gato_jax.errors import GatoError
from gato_jax.evaluate import corrections, simulator_pool

_ROUNDS = flags.DEFINE_integer(
  "rounds", None, "Number of rounds; by default config.dagger.rounds.", lower_bound=1
)
_ROUND = flags.DEFINE_integer(
  "only_round", 0, "Plays the episodes of this round and trains nothing.", lower_bound=0
)


def main(experiment: cli.Experiment) -> None:
  tasks = correctable_tasks(experiment)
  if _ROUND.value:
    play_round(experiment, tasks, _ROUND.value)
    return

  # SIGTERM, which schedulers send, ends like Ctrl-C.
  signal.signal(signal.SIGTERM, signal.default_int_handler)

  # Simulators and TensorFlow do not share a process, so each stage runs in one of its own.
  given = [argument for argument in sys.argv[1:] if not argument.startswith("--rounds")]
  rounds = _ROUNDS.value or experiment.config.dagger.rounds
  for round_number in range(1, rounds + 1):
    stop_at = round_number / (rounds + 1)
    _run_stage("train", *given, f"--config.train.stop_at={stop_at}")
    _run_stage("dagger", *given, f"--only_round={round_number}")
    _run_stage("build", *given, "--corrections")

  _run_stage("train", *given)


def _run_stage(verb: str, *arguments: str) -> None:
  """Runs a verb in a process of its own, and ends with its status where it fails."""
  print(f"\ndagger: {verb} {' '.join(arguments)}", flush=True)

  process = subprocess.Popen([sys.executable, "-m", f"experiments.{verb}", *arguments])
  try:
    status = process.wait()
  except KeyboardInterrupt:
    # The stage ends as it would by itself: training saves a checkpoint.
    process.terminate()
    process.wait()
    raise

  if status:
    print(
      f"dagger: {verb} ended with status {status}; run the same command again to continue",
      file=sys.stderr,
    )
    sys.exit(status)


def correctable_tasks(experiment: cli.Experiment) -> list[tuple[SimulatedDomain, str]]:
  """Returns the tasks whose expert can correct; names those that are left out.

  Raises:
    GatoError: There is none, or what they say would not be learned.
  """
  if not experiment.config.data.corrections:
    raise GatoError("data.corrections=0: no correction would ever train; give them a share")

  tasks = [task for task in experiment.control_tasks if task[0].corrects]
  left_out = sorted({domain.name for domain, _ in experiment.control_tasks if not domain.corrects})
  if left_out:
    print(
      f"left out: {', '.join(left_out)}: what these experts do depends on their own past actions",
      file=sys.stderr,
    )
  if not tasks:
    raise GatoError(f"{experiment.config.name} has no task whose expert can correct")

  return tasks


def play_round(
  experiment: cli.Experiment, tasks: list[tuple[SimulatedDomain, str]], round_number: int
) -> None:
  """Plays what is missing of a round with the newest checkpoint.

  Raises:
    GatoError: Episodes failed; the others are there, and the same command plays the rest.
  """
  config = experiment.section(corrections.DaggerConfig, "dagger")
  policy = agent.Policy(experiment.workdir)
  act = experiment.section(agent.ActConfig, "act")
  raw = experiment.corrections / "raw"
  missing = corrections.missing(
    tasks,
    raw,
    round_number=round_number,
    episodes=config.episodes,
    beta=config.beta**round_number,
    step=policy.step,
  )
  missing = [dataclasses.replace(job, chunk_steps=policy.chunk_steps(act)) for job in missing]
  if not missing:
    print(f"dagger: all episodes of round {round_number} are in {raw}")
    return

  limits = experiment.section(evaluate.EvaluateConfig, "evaluate")
  raw.mkdir(parents=True, exist_ok=True)
  log = raw / "dagger.log"
  failures: list[Failure] = []

  with (
    simulator_pool.Simulators(limits, log) as simulators,
    progress.Bar(total=len(missing), desc=f"round {round_number}", unit="episode") as bar,
  ):
    engine = policy.engine(sorted({job.name for job in missing}), simulators.workers, act)
    engine.compile(on_shape=lambda text: bar.set_postfix_str(f"compiles {text}"))

    for job, outcome in simulators.play(missing, engine, check_spec=policy.check_environment):
      if isinstance(outcome, Failure):
        failures.append(outcome)
        bar.write(f"{job.name}, seed {job.seed}: {outcome.reason}", file=sys.stderr)
      bar.set_postfix_str(job.name)
      bar.update()

  if failures:
    raise GatoError(
      f"{len(failures)} episodes of round {round_number} failed; see {log}, the same command plays "
      "them again"
    )


if __name__ == "__main__":
  cli.run(main)
