"""Modular RL: the limb subsets are counted, compile, run and fall as gymnasium's bodies do.

The expert gets further than random actions.
"""

import subprocess
import sys
from xml.etree import ElementTree

import gymnasium
import numpy as np
import pytest

from gato_jax.env import loop
from rlds_builders import modular_rl
from rlds_builders.modular_rl import environment as modular
from rlds_builders.modular_rl import morphologies

DOMAIN = modular_rl.DOMAIN
_DEFAULT = [task for task in DOMAIN.tasks if task not in DOMAIN.held_out]
_WHOLE = {base: frozenset(tree) for base, tree in morphologies.TREES.items()}
_GYM = {"walker2d": "Walker2d-v5", "hopper": "Hopper-v5", "humanoid": "Humanoid-v5"}


@pytest.mark.parametrize(("base", "count"), [("walker2d", 16), ("hopper", 4), ("humanoid", 162)])
def test_every_connected_subset_once(base, count):
  found = list(morphologies.subsets(base))
  assert len(found) == len(set(found)) == count

  tree = morphologies.TREES[base]

  assert all(
    tree[limb] == morphologies.TORSO or tree[limb] in limbs for limbs in found for limb in limbs
  )

  # By brute force: of all subsets of the limbs, so many hang together.
  limbs = list(tree)
  masks = np.arange(2 ** len(limbs))[:, None] >> np.arange(len(limbs)) & 1
  hung = [
    masks[:, i] <= masks[:, limbs.index(tree[limb])]
    for i, limb in enumerate(limbs)
    if tree[limb] in limbs
  ]

  assert np.all(hung, axis=0).sum() == count
  assert len({morphologies.task(base, limbs) for limbs in found}) == count


def test_tasks():
  assert [sum(task.startswith(base) for task in DOMAIN.tasks) for base in morphologies.TREES] == [
    15,
    3,
    161,
  ]
  assert [sum(task.startswith(base) for task in _DEFAULT) for base in morphologies.TREES] == [
    15,
    3,
    21,
  ]


@pytest.mark.parametrize("base", morphologies.TREES)
def test_the_trees_are_those_of_gymnasiums_files(base):
  file = modular.asset(base)
  bodies = ElementTree.fromstring(file.read_text()).iter("body")
  assert {
    b.get("name"): a.get("name") for a in bodies for b in a.findall("body")
  } == morphologies.TREES[base]


@pytest.mark.parametrize("base", morphologies.TREES)
def test_with_all_limbs_it_is_gymnasiums_environment(base):
  ours, theirs = modular.Morphology(base, _WHOLE[base]), gymnasium.make(_GYM[base]).unwrapped
  ours.seed(1)
  ours.reset()
  theirs.reset(seed=0)
  theirs.set_state(ours.data.qpos, ours.data.qvel)
  random = np.random.default_rng(0)

  for _ in range(1000):
    action = random.uniform(-1, 1, ours.action_spec().shape) * ours.action_spec().maximum
    timestep = ours.step(action)
    observation, reward, terminated, _, info = theirs.step(action)

    np.testing.assert_allclose(ours.data.qpos, theirs.data.qpos, atol=1e-8)

    # Ours without the contact cost; gymnasium takes the humanoid's speed one physics step late.
    assert timestep.reward == pytest.approx(
      reward - info.get("reward_contact", 0), abs=0.3 if base == "humanoid" else 1e-6
    )
    assert timestep.last() == terminated

    if terminated:
      break

  assert terminated and timestep.discount == 0


@pytest.mark.parametrize("task", _DEFAULT)
def test_default_morphologies_run(task):
  environment = DOMAIN.make_environment(task)
  base, limbs = morphologies.actuated()[task]
  names = {environment.model.body(i).name for i in range(environment.model.nbody)}

  assert names == {"world", "torso", *limbs}
  assert environment.model.nu == len(environment.action_spec().minimum) > 0

  actor = loop.RandomExpert(environment.action_spec(), "test")
  environment.seed(0)
  timestep = environment.reset()

  assert environment.healthy(environment.data.qpos)

  for _ in range(60):
    for key, spec in environment.observation_spec().items():
      spec.validate(timestep.observation[key])
      assert np.all(np.isfinite(timestep.observation[key]))

    if timestep.last():
      assert timestep.discount == 0 and not environment.healthy(environment.data.qpos)
      break

    timestep = environment.step(actor.act(timestep))

    assert np.isfinite(timestep.reward)


def test_each_stands_just_above_the_floor():
  whole = {base: modular.Morphology(base, limbs) for base, limbs in _WHOLE.items()}
  gaps = {base: one.body.height - modular.standing_height(one.model) for base, one in whole.items()}

  for base, limbs in morphologies.actuated().values():
    environment = modular.Morphology(base, limbs)
    assert environment.start - modular.standing_height(environment.model) == pytest.approx(
      gaps[base]
    ), limbs
    assert environment.start <= whole[base].start + 1e-9


def test_one_without_legs_never_falls():
  environment = DOMAIN.make_environment("humanoid-right_lower_arm-left_lower_arm")
  environment.seed(0)
  timestep, steps = environment.reset(), 0
  while not timestep.last():
    timestep = environment.step(np.zeros(6))
    steps += 1

  assert steps == modular.HORIZON and timestep.discount == 1


def test_an_episode_depends_on_its_seed_only():
  one, two = (DOMAIN.make_environment("walker2d-foot-leg_left") for _ in range(2))
  actor = loop.RandomExpert(one.action_spec(), "test")

  def play(environment, seed):
    actor.reset(seed)
    environment.seed(seed)
    timesteps = [environment.reset()]
    timesteps += [environment.step(actor.act(timesteps[-1])) for _ in range(10)]
    return np.stack([t.observation["position"] for t in timesteps])

  play(two, 8)

  np.testing.assert_array_equal(play(one, 7), play(two, 7))
  assert np.any(play(one, 7)[0] != play(one, 8)[0])


class _Still(loop.RandomExpert):
  def act(self, timestep):
    return np.zeros(self._spec.shape, np.float32)


def test_the_expert_gets_further_than_chance_and_standing_still():
  task = "walker2d-leg-foot_left"
  environment = DOMAIN.make_environment(task)

  def total(actor):
    environment.seed(3)
    timestep, rewards = environment.reset(), []
    actor.reset(3)
    while not timestep.last() and len(rewards) < 100:
      timestep = environment.step(actor.act(timestep))
      rewards.append(timestep.reward)

    return sum(rewards)

  spec = environment.action_spec()
  chance, still = total(loop.RandomExpert(spec, "test")), total(_Still(spec, "test"))

  assert total(DOMAIN.make_expert(environment, task)) > 1.5 * max(chance, still) > 0


def test_the_video_frame_is_a_picture():
  """Renders in a process of its own: gymnasium loads its own display in this one."""
  code = (
    "from rlds_builders import modular_rl; e = modular_rl.DOMAIN.make_environment('hopper-foot'); e.seed(0); e.reset();"
    "f = e.render(); e.close(); assert f.shape == (128, 128, 3) and f.std() > 1, f.std()"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
