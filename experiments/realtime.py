"""Acts at a fixed rate and counts the deadlines met: python -m experiments.realtime --task=dummy.reach --hz=20

The policy is the experiment's checkpoint in this process, or a server's (--server=ws://host:8000, experiments.serve).
The world does not wait: while an action is late it goes on with the one before (docs/acting.md).
"""

import tqdm
from absl import flags

import rlds_builders
from experiments import cli
from gato_jax import agent, evaluate, realtime, returns, specs
from gato_jax.errors import GatoError
from gato_jax.serve import client, front

_TASK = flags.DEFINE_string("task", "", "domain.task to act in.")
_HZ = flags.DEFINE_float("hz", 0.0, "Steps a second of the world; 0: the task's own control rate.", 0.0)
_STEPS = flags.DEFINE_integer("steps", 1000, "Actions to ask for.", 1)
_SEED = flags.DEFINE_integer("seed", evaluate.FIRST_SEED, "Of the first episode; the others count up.", 0)
_SERVER = flags.DEFINE_string("server", "", "Address of a served policy, instead of this experiment's checkpoint.")
_TOKEN_FILE = flags.DEFINE_string("token_file", "", "File with the server's token.")


def main(experiment: cli.Experiment) -> None:
  name, _, task = _TASK.value.partition(".")
  if not task:
    raise GatoError(f"--task={_TASK.value!r} is no task; it looks like --task=control_suite.point_mass-easy")
  domain = rlds_builders.get(name)
  environment = domain.make_environment(task)
  seconds = float(environment.control_timestep())
  hz = _HZ.value or (1 / seconds if seconds else 0.0)
  if not hz:
    raise GatoError(f"{_TASK.value}: its steps have no length in seconds; give a rate, as --hz=20")
  act = experiment.section(agent.ActConfig, "act")
  if _SERVER.value:
    token = front.read_token(_TOKEN_FILE.value) or None
    actor = client.RemoteActor(_SERVER.value, _TASK.value, token=token)
    actor.check(environment)
    asked = returns.asked(actor.spec, act.return_target)
  else:
    policy = agent.Policy(experiment.workdir)
    policy.check_environment(specs.environment_task_spec(domain, task, environment))
    asked = policy.asked(_TASK.value, act)
    actor = policy.actor(_TASK.value, 1, act)
    actor.engine.compile()
  held = realtime.Held(actor, act.action_steps)
  with tqdm.tqdm(total=_STEPS.value, unit="action", desc=f"{_TASK.value}, {hz:g} Hz", dynamic_ncols=True) as bar:
    actor = returns.Asking(held, asked) if asked else held
    print(realtime.control(environment, actor, hz, _STEPS.value, _SEED.value, on_step=bar.update))


if __name__ == "__main__":
  cli.run(main)
