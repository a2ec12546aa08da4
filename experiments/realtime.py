"""Acts at a fixed rate and counts the deadlines met: python -m experiments.realtime --hz=20

The policy is the experiment's checkpoint in this process, or that of a server
(--server=ws://host:8000, experiments.serve); --task=dummy.reach names what it plays. The world
does not wait: while an action is late the previous one is repeated (docs/acting.md).
"""

from absl import flags

import rlds_builders
from experiments import cli
from gato_jax import agent, progress
from gato_jax.domain import SimulatedDomain, environment_task_spec
from gato_jax.env import realtime, returns
from gato_jax.env.loop import Actor
from gato_jax.errors import GatoError
from gato_jax.randomness import FIRST_EVALUATION_SEED
from gato_jax.serve import client, front

_TASK = flags.DEFINE_string("task", "", "Task to act in, as domain.task.")
_HZ = flags.DEFINE_float(
  "hz", 0.0, "Steps that the world takes in a second; 0 takes the task's own control rate.", 0.0
)
_STEPS = flags.DEFINE_integer("steps", 1000, "Number of actions to ask for.", 1)
_SEED = flags.DEFINE_integer(
  "seed", FIRST_EVALUATION_SEED, "Seed of the first episode; the others count up from it.", 0
)
_SERVER = flags.DEFINE_string(
  "server", "", "Address of a served policy to use instead of this experiment's checkpoint."
)
_TOKEN_FILE = flags.DEFINE_string(
  "token_file", "", "Path of a file with the token that the server asks for."
)


def main(experiment: cli.Experiment) -> None:
  domain_name, _, task = _TASK.value.partition(".")
  if not task:
    raise GatoError(
      f"--task={_TASK.value!r} is no task; it looks like --task=control_suite.point_mass-easy"
    )
  domain = rlds_builders.get(domain_name)
  if not isinstance(domain, SimulatedDomain):
    raise GatoError(
      f"--task={_TASK.value!r}: the domain {domain_name} has no environment to act in"
    )

  environment = domain.make_environment(task)
  seconds = float(environment.control_timestep())
  hz = _HZ.value or (1 / seconds if seconds else 0.0)
  if not hz:
    raise GatoError(f"{_TASK.value}: its steps have no length in seconds; give a rate, as --hz=20")

  act = experiment.section(agent.ActConfig, "act")
  actor: Actor
  if _SERVER.value:
    token = front.read_token(_TOKEN_FILE.value) or None
    remote = client.RemoteActor(_SERVER.value, _TASK.value, token=token)
    remote.check(environment)
    return_target = returns.return_target(remote.spec, act.return_target)
    actor = remote
  else:
    policy = agent.Policy(experiment.workdir)
    policy.check_environment(environment_task_spec(domain, task, environment))
    return_target = policy.return_target(_TASK.value, act)
    engine = policy.engine([_TASK.value], slots=1, config=act)
    # Compiled before the clock runs: the first action would miss its deadline by seconds.
    engine.compile()
    actor = policy.actor_of(engine, _TASK.value, act)

  with progress.Bar(total=_STEPS.value, unit="action", desc=f"{_TASK.value}, {hz:g} Hz") as bar:
    # The return-to-go is counted in every step, also while an action is repeated.
    actor = realtime.ActionRepeat(actor, act.action_steps)
    if return_target:
      actor = returns.ReturnConditionedActor(actor, return_target)

    deadlines = realtime.control(
      environment, actor, hz, steps=_STEPS.value, first_seed=_SEED.value, on_step=bar.update
    )
    print(deadlines)


if __name__ == "__main__":
  cli.run(main, plays=True)
