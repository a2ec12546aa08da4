"""Compares how often the network and its experts repeat an action (gato_jax/env/repeats.py)."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gato_jax.env import results
from gato_jax.env.repeats import STILL_STEPS
from gato_jax.evaluate import scores as scoring


@dataclasses.dataclass(frozen=True)
class Repeats:
  """Rates at which an actor's episodes repeat actions.

  Attributes:
    rate: Mean over episodes of the share of action tokens that are those of the step before.
    still: Share of episodes with STILL_STEPS equal actions in a row.
    episodes: Number of the episodes.
  """

  rate: float
  still: float
  episodes: int


@dataclasses.dataclass(frozen=True)
class Comparison:
  """The network beside its expert in the tasks of a domain; None where nothing is known."""

  domain: str
  agent: Repeats | None
  expert: Repeats | None


def repeats(rows: Sequence[results.Row]) -> Repeats | None:
  """Returns the repeats in some episodes; None where no row says anything about them."""
  rates = [row.repeat_rate for row in rows if row.repeat_rate is not None]
  longest = [row.longest_repeat for row in rows if row.longest_repeat is not None]
  if not rates:
    return None

  still = float(np.mean([steps >= STILL_STEPS for steps in longest]))
  return Repeats(rate=float(np.mean(rates)), still=still, episodes=len(rates))


def by_domain(rows: Iterable[results.Row], actor: str, step: int) -> list[Comparison]:
  """Returns a comparison for each domain that the actor played at a step."""
  of_domain: dict[str, dict[str, list[results.Row]]] = {}
  for row in rows:
    actors = of_domain.setdefault(row.domain, {"agent": [], "expert": []})
    if row.actor == actor and row.step == step:
      actors["agent"].append(row)
    elif row.actor == results.EXPERT:
      actors["expert"].append(row)

  return [
    Comparison(domain, agent=repeats(actors["agent"]), expert=repeats(actors["expert"]))
    for domain, actors in sorted(of_domain.items())
    if actors["agent"]
  ]


def by_arm(runs: Sequence[tuple[str, Sequence[results.Row]]]) -> list[dict[str, Any]]:
  """Returns how often each arm of a study, and the experts, repeat actions; a row a domain.

  Args:
    runs: Arm and rows of each run, of which the newest step counts.
  """
  actors: dict[str, list[results.Row]] = {}
  experts: dict[tuple[str, int], results.Row] = {}
  for arm, rows in runs:
    step = scoring.newest_step(rows)
    for row in scoring.unique(rows):
      if row.actor == results.POLICY and row.step == step:
        actors.setdefault(arm, []).append(row)
      elif row.actor == results.EXPERT:
        # All runs hold the rows of the same experts.
        experts[row.task, row.seed] = row
  actors[results.EXPERT] = list(experts.values())

  table = []
  for actor, rows in actors.items():
    for domain in sorted({row.domain for row in rows}):
      counted = repeats([row for row in rows if row.domain == domain])
      if counted:
        table.append({"actor": actor, "domain": domain} | dataclasses.asdict(counted))

  return table
