"""Limb subsets of gymnasium's walker2d, hopper and humanoid that keep the torso and hang together, as plain data.

A subset is named after the limbs at its ends, which determine the rest: "walker2d-foot-leg_left" has the whole right
leg and the left one down to the shin. tests/test_modular_rl.py holds the trees to gymnasium's XML.
"""

import functools
import itertools
from collections.abc import Iterator

TORSO = "torso"
# base -> limb -> the limb it hangs on
TREES: dict[str, dict[str, str]] = {
  "walker2d": {
    "thigh": TORSO,
    "leg": "thigh",
    "foot": "leg",
    "thigh_left": TORSO,
    "leg_left": "thigh_left",
    "foot_left": "leg_left",
  },
  "hopper": {"thigh": TORSO, "leg": "thigh", "foot": "leg"},
  "humanoid": {
    "lwaist": TORSO,
    "pelvis": "lwaist",
    "right_thigh": "pelvis",
    "right_shin": "right_thigh",
    "right_foot": "right_shin",
    "left_thigh": "pelvis",
    "left_shin": "left_thigh",
    "left_foot": "left_shin",
    "right_upper_arm": TORSO,
    "right_lower_arm": "right_upper_arm",
    "left_upper_arm": TORSO,
    "left_lower_arm": "left_upper_arm",
  },
}
_LEG, _ARM = ("thigh", "shin", "foot"), ("upper_arm", "lower_arm")


def subsets(base: str) -> Iterator[frozenset[str]]:
  """Every set of limbs in which each hangs on another one or on the torso; the empty one, the bare torso, included."""
  return _below(TREES[base], TORSO)


def _below(tree: dict[str, str], root: str) -> Iterator[frozenset[str]]:
  """What may hang on `root`: for each of its limbs nothing, or the limb and what may hang on that."""
  options = [
    [frozenset(), *(below | {limb} for below in _below(tree, limb))] for limb, on in tree.items() if on == root
  ]
  for choice in itertools.product(*options):
    yield frozenset().union(*choice)


def task(base: str, limbs: frozenset[str]) -> str:
  """The name of the task, e.g. "hopper-foot"; of the bare torso "hopper-torso"."""
  inner = {TREES[base][limb] for limb in limbs}
  ends = [limb for limb in TREES[base] if limb in limbs and limb not in inner]
  return "-".join([base, *(ends or [TORSO])])


@functools.cache
def actuated() -> dict[str, tuple[str, frozenset[str]]]:
  """Task name -> (base, limbs) of all morphologies but the bare torsos, which have nothing to move."""
  return {task(base, limbs): (base, limbs) for base in TREES for limbs in subsets(base) if limbs}


def used_by_default(base: str, limbs: frozenset[str]) -> bool:
  """Every walker2d and hopper; of the humanoids those that can stand, mirror images counted once.

  Standing takes both legs down to the shin (the feet are balls without a joint). Of two mirror images the one with the
  longer right leg is used, or with the longer right arm where the legs are alike.
  """
  if base != "humanoid":
    return True
  if not {"right_shin", "left_shin"} <= limbs:
    return False
  right, left = (
    tuple(sum(f"{side}_{part}" in limbs for part in chain) for chain in (_LEG, _ARM)) for side in ("right", "left")
  )
  return right >= left
