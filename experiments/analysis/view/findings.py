"""Findings about the episodes of a task: nothing that breaks training, all of it worth a look.

Legend: n steps of an episode, A numbers of a field.
"""

import collections
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

# Of a continuous field's 1,024 bins.
FEW_BINS = 103

# Steps in a row that are alike before it is said.
IDLE_STEPS = 20

# A number jumps if it changes this many times as much as in 99 of 100 steps, and by half of its
# whole range.
_JUMP = 10.0


@dataclasses.dataclass(frozen=True)
class Finding:
  """An oddity of a dataset.

  Attributes:
    kind: Its kind, in a word or two.
    text: The whole sentence.
    episode: Index of an episode that shows it; None where it is no episode's.
    step: The step there.
  """

  kind: str
  text: str
  episode: int | None = None
  step: int = 0


@dataclasses.dataclass(frozen=True)
class EpisodeColumns:
  """The columns of an episode.

  Attributes:
    index: Its index in the dataset.
    numbers: Field -> float64 [n, A], the action as "action".
    images: Field -> [n, ...], the images or a hash of each.
    texts: Field -> texts [n].
  """

  index: int
  numbers: Mapping[str, np.ndarray]
  images: Mapping[str, np.ndarray]
  texts: Mapping[str, Sequence[str]]


def find(episodes: Sequence[EpisodeColumns], bins: Mapping[str, np.ndarray]) -> list[Finding]:
  """Returns the findings.

  Args:
    episodes: Some or all episodes of a task.
    bins: Continuous field -> int64 [A], the different bins that each of its numbers uses.
  """
  return [
    *_duplicates(episodes),
    *_constant(episodes),
    *_few_bins(bins, episodes),
    *_idle(episodes),
    *_frozen(episodes),
    *_jumps(episodes),
  ]


def longest_run(equal: np.ndarray) -> tuple[int, int]:
  """Returns (start, length) of the longest run of True in bool [n]; length 0 where there is none.

  `equal[t]` says that step t + 1 is like step t, so that a run of k is k + 1 like steps.
  """
  edges = np.flatnonzero(np.diff(np.concatenate([[0], equal.astype(np.int8), [0]])))
  starts, stops = edges[::2], edges[1::2]
  if not len(starts):
    return 0, 0

  best = int(np.argmax(stops - starts))
  return int(starts[best]), int(stops[best] - starts[best])


def _duplicates(episodes: Sequence[EpisodeColumns]) -> list[Finding]:
  by_content = collections.defaultdict(list)
  for episode in episodes:
    content = hashlib.sha256()
    for columns in (episode.numbers, episode.images):
      for name in sorted(columns):
        content.update(np.ascontiguousarray(columns[name]).tobytes())
    content.update(repr(sorted(episode.texts.items())).encode())
    by_content[content.digest()].append(episode.index)

  groups = [indices for indices in by_content.values() if len(indices) > 1]
  if not groups:
    return []
  count = sum(map(len, groups)) - len(groups)
  return [
    Finding(
      "duplicates",
      f"{count} of {len(episodes)} episodes repeat another one from beginning to end, "
      f"such as {groups[0][0]} and {groups[0][1]}",
      episode=groups[0][1],
    )
  ]


def _constant(episodes: Sequence[EpisodeColumns]) -> list[Finding]:
  findings = []
  for name in episodes[0].numbers:
    values = np.concatenate([episode.numbers[name] for episode in episodes])
    constant = np.flatnonzero(values.min(0) == values.max(0))
    if len(constant):
      which = ", ".join(f"{i} ({values[0, i]:.4g})" for i in constant[:6])
      findings.append(Finding("constant", f"{name} has numbers that never change: {which}"))
  return findings


def _few_bins(bins: Mapping[str, np.ndarray], episodes: Sequence[EpisodeColumns]) -> list[Finding]:
  """Names the numbers that use less than a tenth of their bins, where enough steps were read."""
  steps = sum(len(next(iter(episode.numbers.values()))) for episode in episodes)
  if steps < 5 * FEW_BINS:
    return []

  findings = []
  for name, counts in bins.items():
    few = np.flatnonzero((counts < FEW_BINS) & (counts > 2))
    if len(few):
      which = ", ".join(f"{i} ({counts[i]})" for i in few[:6])
      more = f" and {len(few) - 6} more" if len(few) > 6 else ""
      findings.append(
        Finding("few bins", f"{name} has numbers that use few of 1,024 bins: {which}{more}")
      )
  return findings


def _idle(episodes: Sequence[EpisodeColumns]) -> list[Finding]:
  """Finds spans in which neither the observation's numbers nor the action change."""
  spans = []
  for episode in episodes:
    columns = np.concatenate(list(episode.numbers.values()), axis=1)
    start, length = longest_run(np.all(columns[1:] == columns[:-1], axis=1))
    if length + 1 >= IDLE_STEPS:
      spans.append((length + 1, episode.index, start))
  if not spans:
    return []

  longest, index, start = max(spans)
  return [
    Finding(
      "idle",
      f"in {len(spans)} of {len(episodes)} episodes nothing changes for {IDLE_STEPS} steps or more,"
      f" the longest time for {longest} steps from step {start} of episode {index}",
      episode=index,
      step=start,
    )
  ]


def _frozen(episodes: Sequence[EpisodeColumns]) -> list[Finding]:
  """Finds cameras that stand still while numbers change."""
  findings = []
  for name in episodes[0].images:
    spans = []
    for episode in episodes:
      images = episode.images[name].reshape(len(episode.images[name]), -1)
      columns = np.concatenate(list(episode.numbers.values()), axis=1)
      same = np.all(images[1:] == images[:-1], axis=1)
      moved = np.any(columns[1:] != columns[:-1], axis=1)
      start, length = longest_run(same & moved)
      if length + 1 >= IDLE_STEPS:
        spans.append((length + 1, episode.index, start))

    if spans:
      longest, index, start = max(spans)
      findings.append(
        Finding(
          "frozen camera",
          f"{name} is the same image for {longest} steps from step {start} of episode {index} on, "
          f"while numbers change; so it is in {len(spans)} of {len(episodes)} episodes",
          episode=index,
          step=start,
        )
      )
  return findings


def _jumps(episodes: Sequence[EpisodeColumns]) -> list[Finding]:
  """Finds numbers of the observation that leap, as they do where steps are missing."""
  findings = []
  for name in episodes[0].numbers:
    if name == "action":
      continue

    changes = [np.abs(np.diff(episode.numbers[name], axis=0)) for episode in episodes]
    values = np.concatenate([episode.numbers[name] for episode in episodes])
    all_changes = np.concatenate(changes)
    if len(all_changes) < 100:
      continue
    usual = np.quantile(all_changes, 0.99, axis=0)
    limit = np.maximum(_JUMP * usual, 0.5 * (values.max(0) - values.min(0)))

    leaps = [
      (episode.index, int(step), int(number))
      for episode, change in zip(episodes, changes, strict=True)
      for step, number in np.argwhere((change > limit) & (usual > 0))
    ]
    if leaps:
      index, step, number = leaps[0]
      findings.append(
        Finding(
          "jump",
          f"{name} leaps in {len(leaps)} places, first number {number} after step {step} of "
          f"episode {index}: steps may be missing there",
          episode=index,
          step=step,
        )
      )
  return findings
