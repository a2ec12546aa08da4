"""Files of result rows."""

import numpy as np

from gato_jax.env import results


def test_a_torn_last_line_does_not_spoil_the_next_row(tmp_path):
  path = tmp_path / "results.jsonl"
  rows = [results.Row("a.b", "gato", i, np.pi, 3, None, 1.0, 5) for i in range(4)]
  results.append(path, rows[:1])
  whole = path.read_bytes()
  path.write_bytes(whole + whole[:30])
  results.append(path, rows[1:2])

  assert list(results.read(path)) == rows[:2]

  path.write_bytes(path.read_bytes()[:-1])  # only the newline is missing: the row is whole

  assert list(results.read(path)) == rows[:2]

  results.append(path, rows[2:])

  assert list(results.read(path)) == rows
