"""Checks of a dataset before training: every record is decoded and every value tokenised.

The prepared form, which training reads, is compared with the records window for window.
"""

import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import rlds
import tensorflow as tf

from gato_jax import documents
from gato_jax.data import mixture, prepared, prepared_format, records, windows
from gato_jax.env import returns
from gato_jax.env.loop import check_action
from gato_jax.errors import GatoError
from gato_jax.tokens import codec, document_layout
from gato_jax.tokens import layout as token_layout
from gato_jax.tokens.fields import Field
from gato_jax.tokens.vocabulary import Kind

# Windows that the reading speed is measured with.
_TIMED_WINDOWS = 64

# Steps that a small network sees, and tokens of a row that a laptop trains on with ease.
_WINDOW_STEPS = 4
_ROW_TOKENS = 512

# Episodes whose rewards are summed once more by rlds.
_STREAMED_EPISODES = 5

# Share of an observation's values in an end bin above which the bins do not fit the values.
_CLIPPED_SHARE = 0.01

# In fewer episodes than this an observation may be constant by chance.
_VARIED_EPISODES = 10

_PREPARE_AGAIN = (
  f"; delete {prepared_format.FOLDER} in the dataset's folder and run python -m experiments.build"
)

# Field -> lowest value, highest value, number of values in an end bin, number of values.
_Ranges = dict[str, tuple[float, float, int, int]]


def check(
  tfds_dir: pathlib.Path,
  task: str,
  sequence_length: int,
  text: codec.TextCodec | None = None,
  source: Callable[[], records.RecordStream] | None = None,
) -> dict[str, Any]:
  """Reads a whole dataset.

  Args:
    tfds_dir: Directory of all datasets.
    task: "domain.task".
    sequence_length: Tokens of a row.
    text: The tokenizer; by default the one that ships with the library.
    source: Opens the episodes of a dataset without records, which are read where they lie.

  Returns:
    Facts to print. "problems" among them is a list of lines, empty when all is well.

  Raises:
    GatoError: A record cannot be read, a value is NaN or out of its range, an action is outside
      its bounds.
  """
  data = prepared.load(tfds_dir, task)
  text = text or codec.default_text_codec()
  if isinstance(data, prepared.PreparedDocuments):
    return _check_documents(data, text)

  config = mixture.MixtureConfig(sequence_length=sequence_length)
  rows = windows.EpisodeWindows(data, text, config=config, max_local_positions=512)
  episodes = records.open_episodes(data.directory, source)
  random = np.random.default_rng(0)

  problems: list[str] = []
  ranges: _Ranges = {}
  index = -1
  for index, episode in enumerate(episodes):
    if index == len(data):
      break
    for actions in (episode.action, episode.expert_action):
      for step, action in enumerate(actions):
        check_action(data.spec.action, action, f"{task}, episode {index}, step {step}")

    # Encoding raises for values that have no token.
    rows.layout.encode(episode.observation, episode.action)
    _update_ranges(ranges, rows.layout, observation=episode.observation)

    columns = {
      **episode.observation,
      "action": episode.action,
      "expert_action": episode.expert_action,
      returns.RETURN_TO_GO: returns.to_go(episode.rewards),
    }
    problems += _check_prepared(data, index, columns=columns, random=random)

  if index + 1 != len(data):
    problems.append(f"{len(data)} episodes are prepared, the records hold others{_PREPARE_AGAIN}")

  constants = {key: low for key, (low, high, _, _) in ranges.items() if low == high}
  if len(data) >= _VARIED_EPISODES:
    for key, value in constants.items():
      problems.append(f"{key}: every value is {value}; a constant observation says nothing")

  for key, (_, _, clipped, total) in ranges.items():
    if clipped > _CLIPPED_SHARE * total:
      problems.append(f"{key}: {clipped / total:.0%} of the values fall into the first or last bin")

  if isinstance(episodes, records.EpisodeRecords):
    problems += _check_rewards(episodes, data)

  start_time = time.perf_counter()
  for _ in range(_TIMED_WINDOWS):
    rows.row(random, 0)
  seconds = time.perf_counter() - start_time

  lengths = f"{data.lengths.min()} to {data.lengths.max()}, mean {data.lengths.mean():.1f}"
  return_range = f"{data.returns.min():.4g} to {data.returns.max():.4g}"
  return {
    "episodes": len(data),
    "kept": len(data.kept) + len(data.validation),
    **({"for validation": len(data.validation)} if len(data.validation) else {}),
    "steps": int(data.lengths.sum()),
    "length": lengths,
    "return": f"{return_range}, expert return {data.expert_return:.4g}",
    "tokens a step": rows.layout.length,
    "windows a second": round(_TIMED_WINDOWS / seconds),
    "layout": rows.layout.describe(),
    **({"constant": ", ".join(constants)} if constants else {}),
    "first step": preview(rows, data),
    "problems": problems,
  }


def _check_documents(data: prepared.PreparedDocuments, text: codec.TextCodec) -> dict[str, Any]:
  source = records.DocumentRecords(data.directory)

  # The sequences of all documents are prepared in one order, here counted through.
  problems = []
  sequence_index = 0
  for document_index in range(len(source)):
    document = source.document(document_index)
    given = documents.given(document)

    for sequence in documents.sequences(document):
      if not any(len(part) for part in sequence if isinstance(part, str)):
        problems.append(f"document {document_index} has no text")

      # A wrong number of sequences is reported below, once.
      if sequence_index < len(data):
        expected = document_layout.encode(sequence, text, given=given)
        if not _is_prepared(data, sequence_index, expected=expected):
          problems.append(
            f"document {document_index}: the prepared tokens or pictures are not the record's"
            f"{_PREPARE_AGAIN}"
          )

      sequence_index += 1

  if sequence_index != len(data):
    problems.append(
      f"{len(data)} sequences are prepared, the records hold {sequence_index}{_PREPARE_AGAIN}"
    )

  facts: dict[str, Any] = {
    "documents": len(source),
    "sequences": len(data),
    "tokens": int(data.lengths.sum()),
  }
  if data.patches.any():
    facts["patches"] = int(data.patches.sum())

  facts["for validation"] = len(records.DocumentRecords(data.directory, "validation"))
  facts["problems"] = problems
  return facts


def _is_prepared(
  data: prepared.PreparedDocuments, sequence: int, expected: document_layout.DocumentTokens
) -> bool:
  """Returns True when a prepared sequence holds the expected tokens, patches and positions."""
  if data.lengths[sequence] != len(expected.tokens):
    return False

  tokens = data.window(sequence, 0, stop=len(expected.tokens))
  return all(
    np.array_equal(getattr(tokens, field), value) for field, value in vars(expected).items()
  )


def _check_prepared(
  data: prepared.PreparedEpisodes,
  index: int,
  columns: Mapping[str, np.ndarray],
  random: np.random.Generator,
) -> list[str]:
  """Compares a prepared episode with its record: all of it, and a random window.

  Args:
    data: The prepared dataset.
    index: Index of the episode.
    columns: The record's columns [n, ...].
    random: Draws the window.

  Returns:
    The first problem, or [].
  """
  length = len(columns["action"])
  if data.lengths[index] != length:
    return [
      f"episode {index}: {data.lengths[index]} steps are prepared, the record has {length}"
      f"{_PREPARE_AGAIN}"
    ]

  # The window includes its last step, so that it is at least one step long.
  first, last = np.sort(random.integers(length, size=2)).tolist()
  for start, stop in ((0, length), (first, last + 1)):
    window = data.read([(index, start, stop)])
    prepared_columns = {
      **window.observation,
      "action": window.action,
      "expert_action": window.expert_action,
      returns.RETURN_TO_GO: data.returns_to_go(index, start, stop=stop),
    }

    for key, column in columns.items():
      prepared_column = prepared_columns[key]
      is_same = np.array_equal(prepared_column, column[start:stop])
      if prepared_column.dtype != column.dtype or not is_same:
        return [
          f"episode {index}, steps {start} to {stop}: the prepared {key!r} is not the record's"
          f"{_PREPARE_AGAIN}"
        ]

  return []


def preview(rows: windows.EpisodeWindows, data: prepared.PreparedEpisodes) -> str:
  """Returns a timestep as values and as tokens, a line for each field."""
  observation, action = data.window(0, 0, stop=1)
  steps = rows.layout.encode(observation, action)

  lines = []
  for field in [*rows.layout.observation, rows.layout.action]:
    tokens: Any = "patches"
    if field.kind != Kind.PATCH:
      tokens = steps.tokens[0, field.slice].tolist()

    value = action[0] if field is rows.layout.action else observation[field.key][0]
    if getattr(value, "ndim", 0) == 3:
      value = f"image {value.shape}"

    lines.append(f"  {field.key}: {value} -> {tokens}")

  return "\n".join(lines)


def layouts(facts_by_task: Mapping[str, Mapping[str, Any]]) -> str:
  """Returns the token layouts of tasks, each layout once, with the first step of one task.

  Args:
    facts_by_task: "domain.task" -> facts of `check`; those of documents have no layout.
  """
  # A layout's text begins with the name of its task.
  tasks_by_layout: dict[str, list[str]] = {}
  for name, facts in facts_by_task.items():
    if "layout" in facts:
      tasks_by_layout.setdefault(facts["layout"].removeprefix(name), []).append(name)

  sections = []
  for text, names in tasks_by_layout.items():
    first_step = facts_by_task[names[0]]["first step"]
    steps, length = proposed_lengths(facts_by_task[names[0]]["tokens a step"])
    proposal = (
      f"  proposed: data.sequence_length={length}, data.window_steps={steps}, "
      f"model.memory_length={length}"
    )
    sections.append(f"{', '.join(names)}{text}\n{first_step}\n{proposal}\n")

  return "".join(sections)


def proposed_lengths(step_tokens: int) -> tuple[int, int]:
  """Returns (steps of a window, tokens of a row) for a step of so many tokens.

  The row, and with it the memory when acting, holds a window of four steps, or as many as take 512
  tokens, and at least one.
  """
  steps = max(1, min(_WINDOW_STEPS, _ROW_TOKENS // step_tokens))
  return steps, steps * step_tokens


def _update_ranges(
  ranges: _Ranges, layout: token_layout.TokenLayout, observation: Mapping[str, np.ndarray]
) -> None:
  """Adds an episode's values to the ranges of its tensor fields."""
  for field in layout.observation:
    if field.kind not in (Kind.CONTINUOUS, Kind.DISCRETE):
      continue

    values = observation[field.key]
    low, high, clipped, total = ranges.get(field.key, (np.inf, -np.inf, 0, 0))
    ranges[field.key] = (
      min(low, values.min()),
      max(high, values.max()),
      clipped + _count_clipped(field, values),
      total + values.size,
    )


def _count_clipped(field: Field, values: np.ndarray) -> int:
  """Returns how many values lie beyond the outermost bin edges, with a tolerance."""
  # Bounds are declared, so that values beyond them are wanted: quantiles leave some outside.
  if not field.bins or field.bounds is not None:
    return 0

  edges = field.bins[0].edges
  is_clipped = (values > edges[-1] + 1e-2) | (values < edges[0] - 1e-2)
  return int(is_clipped.sum())


def _check_rewards(source: records.EpisodeRecords, data: prepared.PreparedEpisodes) -> list[str]:
  """Compares the first episodes, as RLDS step streams, with their metadata.

  rlds counts the steps and sums the rewards by its own transformations.
  """
  problems = []
  for index in range(min(_STREAMED_EPISODES, len(data))):
    steps = tf.data.Dataset.from_tensor_slices(source.columns(index, ("reward", "is_last")))

    # RLDS counts the last step, which has no action.
    length = int(rlds.transformations.episode_length(steps)) - 1
    total = float(rlds.transformations.sum_dataset(steps, lambda step: step["reward"]))

    if length != data.lengths[index]:
      problems.append(
        f"episode {index}: {length} steps in the stream, its metadata says {data.lengths[index]}"
      )

    # Rewards are summed in float32 here.
    if not np.isclose(total, data.returns[index], rtol=1e-3, atol=1e-2):
      problems.append(
        f"episode {index}: rewards sum to {total:.6g}, its metadata says {data.returns[index]:.6g}"
      )

  return problems


def report(
  tfds_dir: pathlib.Path,
  task: str,
  sequence_length: int,
  text: codec.TextCodec | None = None,
  source: Callable[[], records.RecordStream] | None = None,
) -> dict[str, Any] | None:
  """Prints the results of `check`.

  Returns:
    The facts, or None where the dataset may not be trained on.
  """
  try:
    facts = check(tfds_dir, task, sequence_length, text=text, source=source)
  except GatoError as e:
    print(f"FAIL {task}: {str(e).removeprefix(f'{task}: ')}")
    return None

  problems = facts.pop("problems")

  # The layouts of all tasks are printed at the end (`layouts`).
  shown = ", ".join(f"{k}: {v}" for k, v in facts.items() if k not in ("layout", "first step"))
  print(f"{'FAIL' if problems else 'ok  '} {task}: {shown}")
  for problem in problems:
    print(f"  problem: {problem}")

  return None if problems else facts
