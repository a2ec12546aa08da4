"""Limb subsets of gymnasium's walker2d, hopper and humanoid, connected to the torso, as plain data.

A subset is named after the limbs at its ends, which determine the rest: "walker2d-foot-leg_left"
has the whole right leg, and the left leg down to the shin. tests/rlds_builders/test_modular_rl.py
compares the trees with gymnasium's XML.
"""

import functools
import itertools
from collections.abc import Iterator

TORSO = "torso"

# base -> limb -> the limb that it is attached to
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

# Parts of the humanoid's limbs, from the body outwards.
_LEG = ("thigh", "shin", "foot")
_ARM = ("upper_arm", "lower_arm")


def subsets(base: str) -> Iterator[frozenset[str]]:
  """Yields every connected set of limbs, from the empty one, which is the bare torso."""
  return _subsets_below(TREES[base], TORSO)


def _subsets_below(tree: dict[str, str], root: str) -> Iterator[frozenset[str]]:
  """Yields every set of limbs that are connected to `root`, without `root`."""
  # For each limb on the root: no limb, or the limb with every subset below it.
  options: list[list[frozenset[str]]] = []
  for limb, parent in tree.items():
    if parent == root:
      options.append([frozenset(), *(below | {limb} for below in _subsets_below(tree, limb))])

  for choice in itertools.product(*options):
    yield frozenset().union(*choice)


def task(base: str, limbs: frozenset[str]) -> str:
  """Returns the name of a task, e.g. "hopper-foot"; "hopper-torso" of the bare torso."""
  inner = {TREES[base][limb] for limb in limbs}
  ends = [limb for limb in TREES[base] if limb in limbs and limb not in inner]
  return "-".join([base, *(ends or [TORSO])])


@functools.cache
def actuated() -> dict[str, tuple[str, frozenset[str]]]:
  """Returns (base, limbs) by task; without the bare torsos, which have nothing to move."""
  return {task(base, limbs): (base, limbs) for base in TREES for limbs in subsets(base) if limbs}


def used_by_default(base: str, limbs: frozenset[str]) -> bool:
  """True for every walker2d and hopper, and for humanoids that can stand.

  To stand takes both legs down to the shin (the feet are balls without a joint). Of two mirror
  images only the one with the longer right leg is used, or with the longer right arm if the legs
  are alike.
  """
  if base != "humanoid":
    return True
  if not {"right_shin", "left_shin"} <= limbs:
    return False

  def lengths(side: str) -> list[int]:
    """Returns the number of parts of the leg and of the arm on a side."""
    return [sum(f"{side}_{part}" in limbs for part in limb) for limb in (_LEG, _ARM)]

  return lengths("right") >= lengths("left")
