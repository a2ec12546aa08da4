"""Rates of repeated actions: by domain beside the expert, and by arm of a study."""

import pytest

from experiments.analysis.report import repeated_actions
from gato_jax.env import results


def row(task, actor, seed, rate, longest, step=0):
  return results.Row(
    task, actor, seed, 1.0, 50, None, 0.1, step, repeat_rate=rate, longest_repeat=longest
  )


ROWS = [
  row("a.x", "gato", 0, 0.9, 40, step=5),
  row("a.x", "gato", 1, 0.5, 5, step=5),
  row("a.x", "gato", 0, 0.0, 1, step=4),  # of an earlier checkpoint
  row("a.x", "expert", 0, 0.2, 3),
  row("b.y", "gato", 0, 0.1, 20, step=5),
  results.Row("b.y", "expert", 0, 1.0, 50, None, 0.1),  # of an older version
]


def test_by_domain_beside_the_expert():
  a, b = repeated_actions.by_domain(ROWS, "gato", 5)
  assert (a.domain, a.agent.episodes, a.expert.episodes) == ("a", 2, 1)
  assert a.agent.rate == pytest.approx(0.7) and a.agent.still == 0.5
  assert a.expert.rate == 0.2 and a.expert.still == 0.0
  assert b.agent.still == 1.0 and b.expert is None  # 20 equal actions in a row


def test_by_arm():
  table = repeated_actions.by_arm([("first", ROWS), ("second", ROWS[:2])])
  assert [(line["actor"], line["domain"], line["episodes"]) for line in table] == [
    ("first", "a", 2),
    ("first", "b", 1),
    ("second", "a", 2),
    ("expert", "a", 1),
  ]

  old = results.Row("a.x", "gato", 0, 1.0, 50, None, 0.1, 5)

  assert repeated_actions.by_arm([("old", [old])]) == []
