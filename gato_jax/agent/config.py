"""How actions are chosen."""

import dataclasses

from gato_jax import specs
from gato_jax.errors import GatoError

PROMPTS = ("start", "end", "uniform", "none")


@dataclasses.dataclass(frozen=True)
class ActConfig:
  """How actions are chosen (Reed et al. 2022, section 2.5).

  Attributes:
    temperature: of sampling; 0 takes the most likely token.
    prompt: what fills the memory before an episode: a demonstration's first steps ("start"), its last ("end"), or steps
      from a place drawn by the episode's seed ("uniform"); "none" leaves it empty.
    prompt_task: "domain.task" whose demonstrations these are, whatever is played; "": those of the task that is played.
    memory_steps: the memory starts anew every so many steps (1: the present observation alone); 0: never.
    prompt_share: of the memory's length that the prompt may take; training gives it at most half of a window.
    return_target: the return asked for, in units of the expert's, of checkpoints that were trained with data.returns.
    action_steps: environment steps that each action is held for (realtime.Held); the policy sees the first of them.
    remove: a file of directions, of experiments.interpret: they are taken out of the residual stream; "": none.
  """

  temperature: float = 1.0
  prompt: str = "start"
  prompt_task: str = ""
  memory_steps: int = 0
  prompt_share: float = 0.5
  action_steps: int = 1
  remove: str = ""
  return_target: float = 1.0

  def __post_init__(self):
    specs.check_name(self.prompt, PROMPTS, "prompt")
    if self.prompt == "none" and self.prompt_task:
      raise GatoError(
        f"act config: prompt_task {self.prompt_task!r} is never shown with prompt 'none'; choose a prompt of "
        f"{', '.join(PROMPTS[:-1])}, or leave prompt_task empty"
      )
    if self.temperature < 0 or self.memory_steps < 0 or self.action_steps < 1 or not 0 <= self.prompt_share <= 1:
      raise GatoError(
        f"act config: temperature {self.temperature:g} and memory_steps {self.memory_steps} must not be negative,"
        f" action_steps {self.action_steps} is at least 1, prompt_share {self.prompt_share:g} in [0, 1]"
      )
