"""Experts of the control suite: sampling MPC on the tasks' true rewards, and feedback laws where one is optimal.

Both act smoothly and (nearly) as a function of the state, because they exist to be imitated. Each reads the model's
parameters anew at reset(), which follows the environment's: randomised variants need nothing else.
"""

from typing import Any

from gato_jax import specs
from rlds_builders.control_suite.experts import acrobot, laws, plans, rewards, swimmer
from rlds_builders.control_suite.experts.actors import Catch, Feedback, Planner

REWARDS = rewards.REWARDS


def make(environment: Any, task: str) -> Planner | Feedback | Catch | swimmer.Swimmer:
  """The expert of `task`, playing in `environment`, which has `.physics`, `.task` and `.substeps`.

  Raises:
    GatoError: the control suite has no expert for the task.
  """
  if task in laws.LAWS:
    return Feedback(environment, laws.LAWS[task])
  if task.startswith("acrobot-"):
    return Catch(environment, task, acrobot.Basin, acrobot.SETTINGS)
  if task in swimmer.WAVES:
    return swimmer.Swimmer(environment, swimmer.WAVES[task])
  specs.check_name(task, plans.PLANS, "task")
  return Planner(environment, task, *plans.PLANS[task], plans.AROUND.get(task))
