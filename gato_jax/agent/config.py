"""Settings of acting."""

import dataclasses

from gato_jax.errors import GatoError, check_name

PROMPTS = ("start", "end", "uniform", "spread", "none")
PROMPT_GROUPS = ("same", "other", "any")


@dataclasses.dataclass(frozen=True)
class ActConfig:
  """Settings of acting (Reed et al. 2022, section 2.5).

  Attributes:
    temperature: Temperature of sampling; 0 takes the most likely token.
    prompt: Fills the KV cache before an episode: a demonstration's first steps ("start"), its last
      steps ("end"), steps from a point drawn by the episode's seed ("uniform"), or its first step,
      its last one and steps evenly between ("spread"); "none" leaves it empty.
    prompt_group: Whose demonstrations are shown where episodes come in groups that share what
      their observations hide: those of the episode's own group ("same"), which is the paper's
      prompt, or, to measure what it is worth, of another one ("other") or of all ("any"). An
      episode that names no group is shown any.
    prompt_task: "domain.task" whose demonstrations are shown, whatever is played; "": those of the
      task that is played.
    memory_steps: The KV cache is emptied every this many steps (1: the present observation alone);
      0: never.
    history_steps: Steps that an action depends on, the present one included: earlier ones stay in
      the KV cache and are not attended to, a prompt still is. 0: as many as the cache holds.
    prompt_share: Largest share of the KV cache that a prompt may take; training gives it at most
      half of a window.
    action_steps: Environment steps that each action is held for (realtime.ActionRepeat); the policy
      sees the first of them.
    chunk_steps: Actions of each chunk that are executed before the policy is asked again, for
      checkpoints that were trained with data.chunk; 0: all of them.
    remove: File of directions, of experiments.interpret, that are removed from the residual stream;
      "": none.
    return_target: Return to aim for, in units of the expert's, for checkpoints that were trained
      with data.returns.
  """

  temperature: float = 1.0
  prompt: str = "start"
  prompt_group: str = "same"
  prompt_task: str = ""
  memory_steps: int = 0
  history_steps: int = 0
  prompt_share: float = 0.5
  action_steps: int = 1
  chunk_steps: int = 0
  remove: str = ""
  return_target: float = 1.0

  def __post_init__(self):
    check_name(self.prompt, PROMPTS, "prompt")
    check_name(self.prompt_group, PROMPT_GROUPS, "value of act.prompt_group")

    if self.prompt == "none" and self.prompt_task:
      raise GatoError(
        f"act config: prompt_task {self.prompt_task!r} is never shown with prompt 'none'; choose a"
        f" prompt of {', '.join(PROMPTS[:-1])}, or leave prompt_task empty"
      )
    if (
      self.temperature < 0
      or self.memory_steps < 0
      or self.history_steps < 0
      or self.chunk_steps < 0
      or self.action_steps < 1
      or not 0 <= self.prompt_share <= 1
    ):
      raise GatoError(
        f"act config: temperature {self.temperature:g}, memory_steps {self.memory_steps},"
        f" history_steps {self.history_steps} and chunk_steps {self.chunk_steps} must not be"
        " negative, action_steps"
        f" {self.action_steps} is at least 1, prompt_share {self.prompt_share:g} in [0, 1]"
      )
