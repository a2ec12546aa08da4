"""How actions are chosen."""

import dataclasses

from gato_jax import specs

PROMPTS = ("start", "end", "uniform", "none")


@dataclasses.dataclass(frozen=True)
class ActConfig:
  """How actions are chosen (Reed et al. 2022, section 2.5).

  Attributes:
    temperature: of sampling; 0 takes the most likely token.
    prompt: what fills the memory before an episode: a demonstration's first steps ("start"), its last ("end"), or steps
      from a place drawn by the episode's seed ("uniform"); "none" leaves it empty.
    memory_steps: the memory starts anew every so many steps (1: the present observation alone); 0: never.
    prompt_share: of the memory's length that the prompt may take; training gives it at most half of a window.
  """

  temperature: float = 1.0
  prompt: str = "start"
  memory_steps: int = 0
  prompt_share: float = 0.5

  def __post_init__(self):
    specs.check_name(self.prompt, PROMPTS, "prompt")
