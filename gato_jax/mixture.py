"""What to train on and how sequences are cut. Outside of data/, so that configs can be read without TensorFlow."""

import dataclasses
from collections.abc import Mapping

from gato_jax.errors import GatoError

ACTIONS = ("expert", "executed")  # which of a step's two actions a setting means


@dataclasses.dataclass(frozen=True)
class MixtureConfig:
  """A mixture of tasks (GATO_SPEC section 4).

  Attributes:
    name: of the mixture in seqio's registry.
    weights: "domain.task" -> share of sequences; shares are normalised.
    sequence_length: L, tokens a row.
    window_steps: at most so many consecutive steps make a sample; 0: as many as fit into the row. Short windows keep a
      clone from copying its last action instead of looking at the state.
    prompt_probability: share of samples that start with a prompt from another episode.
    prompt_end_probability: share of those prompts that are the other episode's end; the rest are uniform pieces.
    labels: what the loss asks for in the place of an action. "expert": what the expert would have done there;
      "executed": what was done, whatever the reason; "": the expert's, or with `returns` what was executed, since the
      return is the executed actions'. They differ where collecting changed the expert's actions (collect.disturbance,
      collect.mistakes).
    past_actions: what the tokens of earlier actions in a sample are, which later steps see. "executed": what the states
      follow from, as when acting; "expert": what the expert would have done. A sample's last step, which no later one
      sees, always holds the labels, so that its later action tokens are conditioned as when acting; prompts always hold
      what was executed.
    keep: episodes count whose return is at least this share of the expert return; 0: all, whatever their return.
    returns: every timestep of a control task has one more field, the return-to-go in per cent of the expert return
      (docs/returns.md); act.return_target then asks for a return.
    observation_text_targets: whether the text of observations is predicted, as the paper's mask says; False leaves
      the actions only, for runs too short to spend their loss on instructions that repeat in every step.
    question_targets: whether questions are predicted like their answers, as the paper's mask says; False leaves the
      answers only.
    pairs: so many image-text pairs or questions make a row, one after the other, padded or cut at random; 0: as many as
      fit are packed, none of which sees another.
    hold_out: of the episodes that count and of the documents, every so manyth never trains; 0: none. The loss on them
      is the held-out loss (train.held_out_batches).
    seed: of the whole input.
    episodes: "domain.task" -> so many of the episodes that count train, of the `best` ones, in an order that `draw`
      fixes: the first 3 are among the first 10 (Reed et al. 2022, appendix E); tasks that are not named: all.
  """

  name: str = "gato"
  weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
  sequence_length: int = 1024
  window_steps: int = 0
  prompt_probability: float = 0.25
  prompt_end_probability: float = 0.5
  labels: str = ""
  past_actions: str = "executed"
  keep: float = 0.8
  returns: bool = False
  observation_text_targets: bool = True
  question_targets: bool = True
  pairs: int = 5
  hold_out: int = 0
  seed: int = 0
  best: int = 2000
  draw: int = 0
  episodes: Mapping[str, int] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    for name, value, known in (("labels", self.labels, ("", *ACTIONS)), ("past_actions", self.past_actions, ACTIONS)):
      if value not in known:
        raise GatoError(f"data.{name}={value!r}: use one of {', '.join(map(repr, known))}")

  @property
  def learns_expert(self) -> bool:
    """Whether an action's label is the expert's own."""
    return (self.labels or ("executed" if self.returns else "expert")) == "expert"


@dataclasses.dataclass(frozen=True)
class FineTuneConfig:
  """Training that begins with another run's parameters (Reed et al. 2022, section 5.2 and appendix E).

  Attributes:
    start: workdir of the run whose newest checkpoint's parameters it begins with; "": fresh ones.
    tasks: "domain.task", trained on instead of the mixture; (): the mixture.
    replay: share of sequences that remain the mixture's.
    episodes: of each of `tasks`, data.episodes for them; 0: all.
  """

  start: str = ""
  tasks: tuple[str, ...] = ()
  replay: float = 0.0
  episodes: int = 0

  def __post_init__(self):
    if not 0 <= self.replay < 1 or self.episodes < 0 or (self.replay and not self.tasks):
      raise GatoError(
        f"fine_tune: replay={self.replay:g} is in [0, 1) and beside tasks, episodes={self.episodes} at least 0"
      )
