"""What a reviewer would look at before anyone trains on a dataset: every record decoded, every value tokenised, and
the prepared form that training reads compared with the records, window for window."""

import pathlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import rlds
import tensorflow as tf

from gato_jax import documents, mixture, returns, specs
from gato_jax.data import episodes, records, windows
from gato_jax.environment_loop import check_action
from gato_jax.errors import GatoError
from gato_jax.tokens import codec, prose

_TIMED_WINDOWS = 64
_AGAIN = f"; delete {episodes.FOLDER} in the dataset's folder and run python -m experiments.build"
_CLIPPED_SHARE = 0.01  # of an observation's values; more in an end bin means that the bins do not fit the values


def check(
  tfds_dir: pathlib.Path, task: str, sequence_length: int, text: codec.TextCodec | None = None
) -> dict[str, Any]:
  """Reads a whole dataset; returns facts to print, "problems" among them (a list of lines, empty when all is well).

  Raises:
    GatoError: a record cannot be read, a value is NaN or out of its range, an action is outside its bounds.
  """
  data = episodes.load(tfds_dir, task)
  text = text or codec.default_text_codec()
  if isinstance(data, episodes.Documents):
    return _check_documents(data, text)
  config = mixture.MixtureConfig(sequence_length=sequence_length)
  rows = windows.EpisodeWindows(data, text, config, max_local_positions=512)
  source, random = records.Episodes(data.directory), np.random.default_rng(0)
  layout, problems, spread = rows.layout, [], {}
  for index in range(len(source)):
    observation, actions, expert_actions, rewards, _ = source.episode(index)
    for column in (actions, expert_actions):
      for step, action in enumerate(column):
        check_action(data.spec.action, action, f"{task}, episode {index}, step {step}")
    _follow_values(layout, observation, layout.encode(observation, actions), spread)
    columns = {
      **observation,
      "action": actions,
      "expert_action": expert_actions,
      specs.RETURN_TO_GO: returns.to_go(rewards),
    }
    problems += _check_prepared(data, index, columns, random)
  for key, (low, high, clipped, total) in spread.items():
    if low == high:
      problems.append(f"{key}: every value is {low}; a constant observation says nothing")
    if clipped > _CLIPPED_SHARE * total:
      problems.append(f"{key}: {clipped / total:.0%} of the values fall into the first or last bin")
  problems += _check_rewards(source, data)
  began = time.perf_counter()
  for _ in range(_TIMED_WINDOWS):
    rows.row(random, 0)
  return {
    "episodes": len(data),
    "kept": len(data.kept),
    "steps": int(data.lengths.sum()),
    "length": f"{data.lengths.min()} to {data.lengths.max()}, mean {data.lengths.mean():.1f}",
    "return": f"{data.returns.min():.4g} to {data.returns.max():.4g}, expert return {data.expert_return:.4g}",
    "tokens a step": layout.length,
    "windows a second": round(_TIMED_WINDOWS / (time.perf_counter() - began)),
    "layout": layout.describe(),
    "first step": preview(rows, data),
    "problems": problems,
  }


def _check_documents(data: episodes.Documents, text: codec.TextCodec) -> dict[str, Any]:
  source = records.Documents(data.directory)
  problems, at = [], 0
  for i in range(len(source)):
    document = source.document(i)
    for sequence in documents.sequences(document):
      if not any(len(part) for part in sequence if isinstance(part, str)):
        problems.append(f"document {i} has no text")
      if at < len(data) and not _is_prepared(data, at, prose.encode(sequence, text, given=documents.given(document))):
        problems.append(f"document {i}: the prepared tokens or pictures are not the record's{_AGAIN}")
      at += 1
  if at != len(data):
    problems.append(f"{len(data)} sequences are prepared, the records hold {at}{_AGAIN}")
  facts = {"documents": len(source), "sequences": len(data), "tokens": int(data.lengths.sum())}
  if data.patches.any():
    facts["patches"] = int(data.patches.sum())
  return {**facts, "for validation": len(records.Documents(data.directory, "validation")), "problems": problems}


def _is_prepared(data: episodes.Documents, sequence: int, expected: prose.Prose) -> bool:
  if data.lengths[sequence] != len(expected.tokens):
    return False
  found = data.window(sequence, 0, len(expected.tokens))
  return all(np.array_equal(getattr(found, field), value) for field, value in vars(expected).items())


def _check_prepared(data: episodes.Episodes, index: int, columns, random) -> list[str]:
  """The whole episode and a window from its middle, as training reads them, against the record's columns."""
  length = len(columns["action"])
  if data.lengths[index] != length:
    return [f"episode {index}: {data.lengths[index]} steps are prepared, the record has {length}{_AGAIN}"]
  middle = np.sort(random.integers(length, size=2)) + (0, 1)
  for start, stop in ((0, length), middle.tolist()):
    window = data.read([(index, start, stop)])
    prepared = window.observation | {"action": window.action, "expert_action": window.expert_action}
    prepared |= {specs.RETURN_TO_GO: data.returns_to_go(index, start, stop)}
    for key, column in columns.items():
      found = prepared[key]
      if found.dtype != column.dtype or not np.array_equal(found, column[start:stop]):
        return [f"episode {index}, steps {start} to {stop}: the prepared {key!r} is not the record's{_AGAIN}"]
  return []


def preview(rows: windows.EpisodeWindows, data: episodes.Episodes) -> str:
  """One timestep as values and as tokens, side by side."""
  observation, action = data.window(0, 0, 1)
  steps = rows.layout.encode(observation, action)
  lines = []
  for field in [*rows.layout.observation, rows.layout.action]:
    tokens = "patches" if field.kind.name == "PATCH" else steps.tokens[0, field.slice].tolist()
    value = action[0] if field is rows.layout.action else observation[field.key][0]
    shown = f"image {value.shape}" if getattr(value, "ndim", 0) == 3 else value
    lines.append(f"  {field.key}: {shown} -> {tokens}")
  return "\n".join(lines)


def layouts(found: Mapping[str, Mapping[str, Any]]) -> str:
  """Returns the token layouts of tasks with the first step of one of them, each layout once.

  Args:
    found: "domain.task" -> facts of `check`; those of documents have no layout.
  """
  sharing: dict[str, list[str]] = {}
  for name, facts in found.items():
    if "layout" in facts:
      sharing.setdefault(facts["layout"].removeprefix(name), []).append(name)
  return "".join(f"{', '.join(names)}{shared}\n{found[names[0]]['first step']}\n" for shared, names in sharing.items())


def _follow_values(layout, observation, steps, spread) -> None:
  """Keeps each tensor field's lowest and highest value, how many fell into an end bin, and how many there were."""
  for field in layout.observation:
    if field.kind.name not in ("CONTINUOUS", "DISCRETE"):
      continue
    values = observation[field.key]
    low, high, clipped, total = spread.get(field.key, (np.inf, -np.inf, 0, 0))
    if field.bins:
      edges = field.bins[0].edges
      clipped += int(((values > edges[-1] + 1e-2) | (values < edges[0] - 1e-2)).sum())
    spread[field.key] = (min(low, values.min()), max(high, values.max()), clipped, total + values.size)


def _check_rewards(source: records.Episodes, data: episodes.Episodes) -> list[str]:
  """The first episodes as RLDS step streams, counted and summed by rlds's own transformations."""
  problems = []
  for index in range(min(5, len(data))):
    steps = tf.data.Dataset.from_tensor_slices(source.columns(index, ("reward", "is_last")))
    length = int(rlds.transformations.episode_length(steps)) - 1
    total = float(rlds.transformations.sum_dataset(steps, lambda step: step["reward"]))
    if length != data.lengths[index]:
      problems.append(f"episode {index}: {length} steps in the stream, its metadata says {data.lengths[index]}")
    if not np.isclose(total, data.returns[index], rtol=1e-3, atol=1e-2):
      problems.append(f"episode {index}: rewards sum to {total:.6g}, its metadata says {data.returns[index]:.6g}")
  return problems


def report(
  tfds_dir: pathlib.Path, task: str, sequence_length: int, text: codec.TextCodec | None = None
) -> dict[str, Any] | None:
  """Prints what `check` found and returns it, or None where the dataset may not be trained on."""
  try:
    facts = check(tfds_dir, task, sequence_length, text)
  except GatoError as e:
    print(f"FAIL {task}: {str(e).removeprefix(f'{task}: ')}")
    return None
  problems = facts.pop("problems")
  shown = ", ".join(f"{k}: {v}" for k, v in facts.items() if k not in ("layout", "first step"))
  print(f"{'FAIL' if problems else 'ok  '} {task}: {shown}")
  for problem in problems:
    print(f"  problem: {problem}")
  return None if problems else facts
