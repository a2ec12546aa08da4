"""The mixture of tasks that a network trains on: their shares, and how sequences are cut.

Configs and the processes of simulators read this module, so it imports no TensorFlow.
"""

import dataclasses
import fnmatch
from collections.abc import Collection, Iterable, Mapping, Sequence

from gato_jax.errors import GatoError, check_name

ACTIONS = ("expert", "executed")  # which of a step's two actions a setting means


@dataclasses.dataclass(frozen=True)
class MixtureConfig:
  """A mixture of tasks and how its episodes and documents become sequences (docs/paper.md).

  Attributes:
    name: Name of the mixture in seqio's registry.
    weights: "domain.task" -> share of sequences; shares are normalised.
    sequence_length: Tokens in a row, L.
    window_steps: Largest number of consecutive steps in a sample; 0 takes as many as fit into the
      row. Short windows keep a cloned policy from copying its last action instead of looking at
      the state.
    history_dropout: Share of samples that are cut to one to three steps, without their prompt, so
      that one network acts with any memory (act.memory_steps).
    history_stride: Steps of the episode from one step of a sample to the next; 1: consecutive
      ones. The network then acts in the same way: on the present step, the one `history_stride`
      before it, and so on.
    last_step_targets: True when only the last step of a sample is predicted, which sees all others.
    prompt_probability: Share of samples that start with a prompt from another episode.
    prompt_end_probability: Share of those prompts that are the other episode's end; the rest are
      pieces drawn uniformly.
    prompt_spread_probability: Share of prompts that are spread instead over the whole other
      episode: its first step, its last one, and steps evenly between.
    labels: Which action the loss asks for. "expert" is what the expert would have done in that
      state, "executed" is what was done for whatever reason, and "" is the expert's action, or the
      executed one with `returns`, since the return is that of the executed actions. The two differ
      where collecting changed the expert's actions (collect.disturbance, collect.mistakes).
    past_actions: Which action the tokens of a sample's earlier steps hold, which later steps see.
      "executed" is what led to the next state, as when acting; "expert" is what the expert would
      have done. A sample's last step, which no later step sees, always holds the labels, so that
      its later action tokens are conditioned as when acting. Prompts always hold the executed
      actions.
    chunk: Actions that a timestep holds and the network predicts after one observation: its own and
      those that follow (gato_jax/env/chunks.py); 0 for its own alone. act.chunk_steps says how many
      of them are executed.
    corrections: Share of a control task's sequences that are corrections of the policy itself
      (experiments/dagger.py), once there are any.
    keep: Episodes train whose return is at least this share of the expert return; 0 keeps all.
    returns: True when every timestep of a control task has one more field, the return-to-go in per
      cent of the expert return (docs/returns.md); act.return_target then asks for a return.
    observation_text_targets: True when the text of observations is predicted, as in the paper's
      loss mask. False leaves the actions only, for runs too short to spend their loss on
      instructions that repeat in every step.
    question_targets: True when questions are predicted like their answers, as in the paper's loss
      mask; False leaves the answers only.
    pairs: Number of image-text pairs or questions in a row, one after the other, padded or cut at
      random; 0 packs as many as fit, none of which sees another.
    validation_every: Every n-th usable episode or document belongs to the validation split and
      never trains; 0 leaves the split empty. The loss on it is the validation loss
      (train.validation_batches).
    seed: Seed of the whole input.
    best: Number of best episodes among which `episodes` chooses.
    draw: Seed of the order in which `episodes` chooses.
    episodes: "domain.task" -> number of its episodes that train, chosen among the `best` ones in
      the order of `draw`, so that the first 3 are among the first 10 (Reed et al. 2022, appendix
      E). All episodes of tasks that are not named train.
  """

  name: str = "gato"
  weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
  sequence_length: int = 1024
  window_steps: int = 0
  history_dropout: float = 0.0
  history_stride: int = 1
  last_step_targets: bool = False
  prompt_probability: float = 0.25
  prompt_end_probability: float = 0.5
  prompt_spread_probability: float = 0.0
  labels: str = ""
  past_actions: str = "executed"
  chunk: int = 0
  corrections: float = 0.25
  keep: float = 0.8
  returns: bool = False
  observation_text_targets: bool = True
  question_targets: bool = True
  pairs: int = 5
  validation_every: int = 0
  seed: int = 0
  best: int = 2000
  draw: int = 0
  episodes: Mapping[str, int] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    for name, value, allowed in (
      ("labels", self.labels, ("", *ACTIONS)),
      ("past_actions", self.past_actions, ACTIONS),
    ):
      if value not in allowed:
        raise GatoError(f"data.{name}={value!r}: use one of {', '.join(map(repr, allowed))}")

    if self.chunk < 0:
      raise GatoError(f"data.chunk={self.chunk}: a number of actions, or 0")
    if self.history_stride < 1:
      raise GatoError(f"data.history_stride={self.history_stride}: a number of steps, at least 1")

    for name, share in (
      ("history_dropout", self.history_dropout),
      ("prompt_spread_probability", self.prompt_spread_probability),
      ("corrections", self.corrections),
    ):
      if not 0 <= share <= 1:
        raise GatoError(f"data.{name}={share:g}: a share lies in [0, 1]")

  @property
  def learns_expert(self) -> bool:
    """True when the label of an action is the expert's own."""
    labels = self.labels or ("executed" if self.returns else "expert")

    return labels == "expert"


@dataclasses.dataclass(frozen=True)
class FineTuneConfig:
  """Training that starts from another run's parameters (Reed et al. 2022, section 5.2, appendix E).

  Attributes:
    start: Workdir of the run whose newest checkpoint has the parameters; "" draws fresh ones.
    tasks: Names "domain.task" that are trained on instead of the mixture; () trains the mixture.
    replay: Share of sequences that still come from the mixture.
    episodes: Number of episodes of each of `tasks`, as in MixtureConfig.episodes; 0 takes all.
  """

  start: str = ""
  tasks: tuple[str, ...] = ()
  replay: float = 0.0
  episodes: int = 0

  def __post_init__(self):
    replays_nothing = self.replay and not self.tasks
    if not 0 <= self.replay < 1 or self.episodes < 0 or replays_nothing:
      raise GatoError(
        f"fine_tune: replay={self.replay:g} is in [0, 1) and beside tasks, "
        f"episodes={self.episodes} at least 0"
      )


def matching_tasks(pattern: str, tasks: Sequence[str], domain_name: str, setting: str) -> list[str]:
  """Returns the tasks of a domain that match a pattern.

  Args:
    pattern: Name of a task; * and ? stand for any letters.
    tasks: Names of all tasks of the domain.
    domain_name: Name of the domain, for the error message.
    setting: Name of the setting that has the pattern, for the error message.

  Raises:
    GatoError: No task matches.
  """
  matches = [task for task in tasks if fnmatch.fnmatchcase(task, pattern)]
  if not matches:
    check_name(pattern, tasks, f"task of {domain_name} in {setting}")

  return matches


def training_tasks(
  mixture_tasks: Sequence[str],
  fine_tuned: Sequence[str],
  *,
  held_out: Collection[str],
  replay: float,
) -> list[str]:
  """Returns the tasks that train, as "domain.task".

  Args:
    mixture_tasks: All tasks of the mixture.
    fine_tuned: Tasks that are trained on instead of the mixture. They train even if they are held
      out of the mixture.
    held_out: Tasks that the mixture leaves out.
    replay: Share of sequences that come from the mixture although tasks are fine-tuned.
  """
  excluded = {*held_out, *fine_tuned}
  remaining = [task for task in mixture_tasks if task not in excluded]
  if not fine_tuned:
    return remaining

  # Patterns may overlap, so that a fine-tuned task is named twice.
  tasks = list(dict.fromkeys(fine_tuned))
  if replay:
    tasks += remaining

  return tasks


def task_weights(
  rows: Iterable[tuple[float, Sequence[str]]],
  training: Collection[str],
  fine_tuned: Sequence[str],
  *,
  replay: float,
) -> dict[str, float]:
  """Returns "domain.task" -> weight of all tasks that train; the weights need not sum to one.

  Args:
    rows: Weight and tasks of each row of the mixture.
    training: Tasks that train, see `training_tasks`.
    fine_tuned: Tasks that are trained on instead of the mixture.
    replay: Share of sequences that come from the mixture although tasks are fine-tuned.

  Raises:
    GatoError: There is nothing to replay.
  """
  mixture_weights: dict[str, float] = {}
  for row_weight, row_tasks in rows:
    present = [task for task in row_tasks if task in training and task not in fine_tuned]
    # A row keeps its share when some of its tasks are held out or have no dataset: the others
    # divide it among themselves.
    mixture_weights |= {task: row_weight / len(present) for task in present}

  if not fine_tuned:
    return mixture_weights

  if replay and not mixture_weights:
    raise GatoError(
      f"fine_tune.replay={replay:g}, but the mixture has nothing besides {', '.join(fine_tuned)}"
    )

  weights = {task: (1 - replay) / len(fine_tuned) for task in fine_tuned}
  total = sum(mixture_weights.values())
  for task, weight in mixture_weights.items():
    weights[task] = replay * weight / total

  return weights
