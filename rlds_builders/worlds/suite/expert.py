"""Experts of the control suite: sampling MPC on the tasks' true rewards, and feedback laws.

They act smoothly and (nearly) as a function of the state, because they exist to be imitated. Each
reads the model's parameters anew at reset(), which follows the environment's, so that randomised
bodies need nothing else.
"""

from gato_jax.errors import check_name
from rlds_builders.worlds.suite.environment import ControlSuite
from rlds_builders.worlds.suite.experts import acrobot, laws, plans, swimmer
from rlds_builders.worlds.suite.experts.actors import Catch, Feedback, Planner


def make(environment: ControlSuite, task: str) -> Planner | Feedback | Catch | swimmer.Swimmer:
  """Returns the expert of a task.

  Args:
    environment: Any environment with `.physics`, `.task` and `.substeps` of dm_control.
    task: The suite's task, "domain-task".

  Raises:
    GatoError: The control suite has no expert for the task.
  """
  if task in laws.LAWS:
    return Feedback(environment, laws.LAWS[task])
  if task.startswith("acrobot-"):
    return Catch(environment, task, make_basin=acrobot.Basin, settings=acrobot.SETTINGS)
  if task in swimmer.WAVES:
    return swimmer.Swimmer(environment, swimmer.WAVES[task])

  check_name(task, plans.PLANS, "task")
  score, settings = plans.PLANS[task]
  return Planner(
    environment, task, score=score, settings=settings, make_law=plans.BASE_LAWS.get(task)
  )
