"""Draws windows and prompts from the episodes of a task and packs them into rows of L tokens.

See Reed et al. 2022, sections 2.3 and 3, and docs/paper.md for what is our decision. A row is a
pure function of its random generator; docs/batch.md has its arrays.

Legend: L tokens a row, T tokens a step, P patches a row at the most.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gato_jax.data import draws, prepared
from gato_jax.data.mixture import MixtureConfig
from gato_jax.data.rows import RowBuilder
from gato_jax.data.splits import select_best, split_episodes
from gato_jax.errors import GatoError
from gato_jax.tokens import codec, layout
from gato_jax.tokens.vocabulary import Kind

_SHORT_HISTORY = 3  # steps, the most that history dropout leaves


class _Piece(NamedTuple):
  """Steps [start, stop) of an episode in a row.

  Attributes:
    episode: Index of the episode.
    start: First step.
    stop: End, exclusive.
    segment: Number of the row's sample that the steps belong to.
    is_prompt: True when the steps are the sample's prompt.
  """

  episode: int
  start: int
  stop: int
  segment: int
  is_prompt: bool


class EpisodeWindows:
  """Rows of a control task: windows of its episodes, some behind a prompt, short ones packed.

  Attributes:
    layout: Token layout of the task.
    episodes: int64, indices of the dataset's episodes that rows are drawn from.
    patch_capacity: P.
  """

  def __init__(
    self,
    data: prepared.PreparedEpisodes,
    text: codec.TextCodec,
    config: MixtureConfig,
    max_local_positions: int,
    split: str = "train",
  ):
    """Selects the episodes of a split.

    Raises:
      GatoError: No step fits into a row, or no episode is left.
    """
    self._data = data
    self._config = config
    self.layout = layout.TokenLayout(data.spec, text, max_local_positions=max_local_positions)

    # Rows hold complete timesteps only.
    self._window_steps = config.sequence_length // self.layout.length
    if not self._window_steps:
      raise GatoError(
        f"{data.spec.name}: one step takes {self.layout.length} tokens, "
        f"a sequence has {config.sequence_length}; raise --config.data.sequence_length"
      )

    if not len(data.kept):
      raise GatoError(
        f"{data.spec.name}: no episode reaches {config.keep:.0%} of the expert return; collect more"
      )

    # The validation split is the same for all runs, however few episodes they train on.
    self.episodes = split_episodes(data, config, split)
    if split == "train":
      self.episodes = select_best(self.episodes, data, config=config)

    self.patch_capacity = self._window_steps * self.layout.patch_count

    # For each episode the positions in `episodes` of those of its group, and its own among them. A
    # prompt from the same group shows what its episode's observations hide.
    _, group_of_position = np.unique(data.groups[self.episodes], return_inverse=True)
    members = [np.flatnonzero(group_of_position == i) for i in range(group_of_position.max() + 1)]
    self._group = [members[group] for group in group_of_position]

  @property
  def available_tokens(self) -> int:
    """Tokens of all steps that rows are drawn from: an epoch."""
    return int(self._data.lengths[self.episodes].sum()) * self.layout.length

  def row(self, random: np.random.Generator, component: int) -> dict[str, np.ndarray]:
    """Draws a row.

    Args:
      random: Generator of the row.
      component: Index of the task in the mixture.
    """
    # All samples are drawn before any step is read, so that they are read and encoded at once.
    pieces = self._draw(random)
    counts = [piece.stop - piece.start for piece in pieces]
    window = self._data.read([piece[:3] for piece in pieces])

    steps = self.layout.encode(window.observation, window.action)
    labels = steps.tokens.copy()
    self._insert_expert_actions(
      steps.tokens, labels, expert_action=window.expert_action, pieces=pieces
    )

    targets = steps.targets
    if not self._config.observation_text_targets:
      targets = targets & (steps.kinds == Kind.ACTION)
    if self._config.last_step_targets:
      targets = targets & _ends_sample(pieces)[:, None]

    # [n, T] arrays become flat; every token of a step has the step's segment and patch positions.
    token_counts = np.multiply(counts, self.layout.length)
    builder = RowBuilder(self._config.sequence_length, component)
    builder.append(
      segments=np.repeat([piece.segment for piece in pieces], token_counts),
      tokens=steps.tokens.reshape(-1),
      labels=labels.reshape(-1),
      kinds=steps.kinds.reshape(-1),
      local_positions=steps.locals.reshape(-1),
      targets=targets.reshape(-1),
      prompts=np.repeat([piece.is_prompt for piece in pieces], token_counts),
    )
    builder.set_patches(
      steps.patches.reshape(-1, 16, 16, 3),
      positions=np.tile(self.layout.patch_positions, (sum(counts), 1)),
    )
    return builder.finish()

  def _insert_expert_actions(
    self,
    tokens: np.ndarray,
    labels: np.ndarray,
    expert_action: np.ndarray,
    pieces: Sequence[_Piece],
  ) -> None:
    """Replaces executed actions by the expert's where `config` says so (docs/batch.md).

    Args:
      tokens: int32 [n, T], with the executed actions; changed in place.
      labels: int32 [n, T], with the executed actions; changed in place.
      expert_action: [n, ...].
      pieces: The pieces that the n steps are of.
    """
    if not self._config.learns_expert:
      return

    action_slice = self.layout.action.slice
    expert_tokens = self.layout.encode_actions(expert_action)
    labels[:, action_slice] = expert_tokens

    # Within a step, later action tokens follow earlier ones. When acting, those are the network's
    # own, which imitate the expert's. Later steps follow what was executed, as when acting, and so
    # do the steps behind a prompt. No later step of the sample sees its last action.
    holds_expert = _ends_sample(pieces)
    if self._config.past_actions == "expert":
      holds_expert |= ~_per_step(pieces, [piece.is_prompt for piece in pieces])

    tokens[holds_expert, action_slice] = expert_tokens[holds_expert]

  def _draw(self, random: np.random.Generator) -> list[_Piece]:
    """Draws the row's samples: each is a piece, or a prompt and a piece.

    The order of the draws is part of a run's definition: another order gives another run.
    """
    config = self._config
    episodes = self.episodes
    lengths = self._data.lengths

    pieces = []
    remaining = self._window_steps
    segment = 0
    while remaining:
      segment += 1
      room = min(remaining, config.window_steps or remaining)
      index = int(random.integers(len(episodes)))

      group = self._group[index]
      if random.random() < config.prompt_probability and len(group) > 1 and room >= 2:
        # Any episode of the group but the sample's own: positions from its own on are shifted by
        # one.
        other = int(random.integers(len(group) - 1))
        other += other >= int(np.searchsorted(group, index))
        prompt_episode = int(episodes[group[other]])

        # A prompt takes at most half of the sample.
        length = int(lengths[prompt_episode])
        count = min(room // 2, length)
        for start, stop in draws.draw_prompt(random, count, length=length, config=config):
          pieces.append(_Piece(prompt_episode, start, stop, segment=segment, is_prompt=True))
        room -= count
        remaining -= count

      # Cut short, the sample shows what acting with a short memory looks like.
      if config.history_dropout and random.random() < config.history_dropout:
        room = min(room, 1 + int(random.integers(_SHORT_HISTORY)))

      episode = int(episodes[index])
      length = int(lengths[episode])
      if config.history_stride == 1:
        ranges = [draws.draw_window(random, room, length=length)]
      else:
        ranges = draws.draw_strided(random, room, length=length, stride=config.history_stride)

      for start, stop in ranges:
        pieces.append(_Piece(episode, start, stop=stop, segment=segment, is_prompt=False))
        remaining -= stop - start

    return pieces


def _per_step(pieces: Sequence[_Piece], values: Sequence[int]) -> np.ndarray:
  """Repeats the value of each piece for its steps; bool [n], the pieces' steps one by one."""
  return np.repeat(values, [piece.stop - piece.start for piece in pieces])


def _ends_sample(pieces: Sequence[_Piece]) -> np.ndarray:
  """Returns bool [n], True for the last step of each sample, a prompt's aside."""
  segments = _per_step(pieces, [piece.segment for piece in pieces])
  is_last = np.append(segments[1:] != segments[:-1], True)

  return is_last & ~_per_step(pieces, [piece.is_prompt for piece in pieces])
