"""gymnasium environments by their spaces alone: specs, values, actions, and what is refused."""

import pathlib
import re

import gymnasium
import numpy as np
import pytest
from dm_env import specs
from gymnasium import spaces

from gato_jax.env import contract, loop
from gato_jax.errors import GatoError
from gato_jax.task import flatten
from rlds_builders.base import resizing
from rlds_builders.worlds import gymnasium_spaces

# Environments that come with gymnasium and need no other package.
INCLUDED = {
  "cart": "CartPole-v1",
  "pendulum": "Pendulum-v1",
  "lake": "FrozenLake-v1",
  "taxi": "Taxi-v4",
  "cards": "Blackjack-v1",
}


class Echo(gymnasium.Env):
  """An environment of any two spaces; it keeps the actions and ends after five of them."""

  metadata = {"render_modes": ["rgb_array"], "render_fps": 20}

  def __init__(self, observation: spaces.Space, action: spaces.Space):
    self.observation_space, self.action_space = observation, action
    self.taken: list = []  # in this episode
    self.history: list = []

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self.observation_space.seed(seed)
    self.taken = []
    return self.observation_space.sample(), {}

  def step(self, action):
    assert self.action_space.contains(action), action
    self.taken.append(action)
    self.history.append(action)
    done = len(self.taken) == 5
    return self.observation_space.sample(), 1.0, done, False, {"is_success": done}

  def render(self):
    return np.zeros((20, 30, 3), np.uint8)


def echo(observation=None, action=None, **settings) -> gymnasium_spaces.GymnasiumSpaces:
  made = Echo(observation or spaces.Discrete(3), action or spaces.Discrete(2))
  return gymnasium_spaces.GymnasiumSpaces(made, "echo", **settings)


@pytest.mark.parametrize("task", INCLUDED)
def test_an_included_environment_keeps_the_contract(task):
  make = gymnasium_spaces.tasks(INCLUDED, max_episode_steps=30)
  assert not contract.broken_rules(make(task), steps=40)


@pytest.mark.parametrize("task", INCLUDED)
def test_an_episode_follows_from_its_seed(task):
  make = gymnasium_spaces.tasks(INCLUDED, max_episode_steps=30)

  def play(seed):
    environment = make(task)
    random = loop.RandomExpert(environment.action_spec(), "test")
    (episode,) = loop.run_episodes([environment], loop.PerSlot([random]), [seed])
    return episode.episode_return, episode.length

  assert play(3) == play(3)
  assert len({play(seed) for seed in range(8)}) > 1


def test_the_example_of_the_page_makes_its_environments():
  page = pathlib.Path(__file__).resolve().parents[2] / "docs/add_a_domain.md"
  (example,) = re.findall(
    r"```python\n(\"\"\"Two of gymnasium's.+?)```", page.read_text(), re.DOTALL
  )
  module: dict = {}
  exec(example, module)

  for task, values in (("taxi", 500), ("lake", 16)):
    environment = module["make"](task)
    assert environment.observation_spec()["observation"].maximum == values - 1
    assert not environment.reset().last()


def test_every_kind_of_space_becomes_a_field():
  environment = echo(
    spaces.Dict(
      pixels=spaces.Box(0, 255, (20, 33, 3), np.uint8),
      grey=spaces.Box(0, 255, (16, 16), np.uint8),
      symbols=spaces.Box(0, 255, (7, 7, 3), np.uint8),
      speed=spaces.Box(-np.inf, np.inf, (2,), np.float64),
      angle=spaces.Box(-1, 1, (3,), np.float32),
      lives=spaces.Discrete(4, start=-1),
      hand=spaces.Tuple((spaces.MultiDiscrete([3, 9]), spaces.MultiBinary(4))),
      score=spaces.Box(0, 10**6, (), np.int64),
      words=spaces.Text(12),
    )
  )
  spec = flatten(environment.observation_spec())

  found = {key: (s.shape, np.dtype(s.dtype).name, s) for key, s in spec.items()}
  assert found["pixels"][:2] == ((32, 48, 3), "uint8")
  assert found["grey"][:2] == ((16, 16, 3), "uint8")
  assert found["symbols"][:2] == ((7, 7, 3), "int32")
  assert found["speed"][:2] == ((2,), "float32")
  assert not isinstance(found["speed"][2], specs.BoundedArray)
  assert isinstance(found["angle"][2], specs.BoundedArray)
  assert found["lives"][:2] == ((), "int32") and found["lives"][2].maximum == 3
  np.testing.assert_array_equal(found["hand/0"][2].maximum, [2, 8])
  assert found["hand/1"][:2] == ((4,), "int32")
  assert found["score"][:2] == ((), "float32")
  assert isinstance(found["words"][2], specs.StringArray)

  assert not contract.broken_rules(environment, steps=12)


def test_values_are_those_of_the_environment():
  environment = echo(
    spaces.Tuple((spaces.Discrete(4, start=7), spaces.Box(-3, 3, (2,), np.float64)))
  )
  native = (8, np.array([0.25, -2.5]))
  shown = environment.observe(native)

  assert shown["0"] == 1 and shown["0"].dtype == np.int32
  np.testing.assert_array_equal(shown["1"], np.float32([0.25, -2.5]))


@pytest.mark.parametrize(
  ("space", "action", "native"),
  [
    (spaces.Discrete(3), np.int32(2), 2),
    (spaces.Discrete(3, start=5), np.int32(2), 7),
    (spaces.MultiDiscrete([[2, 3], [4, 5]]), np.int32([1, 2, 3, 4]), [[1, 2], [3, 4]]),
    (spaces.MultiBinary(3), np.int32([1, 0, 1]), [1, 0, 1]),
    (spaces.Box(-2, 2, (2, 1), np.float64), np.float32([0.5, -2]), [[0.5], [-2]]),
    (
      spaces.Dict(gas=spaces.Discrete(3), turn=spaces.MultiDiscrete([4, 5])),
      np.int32([2, 3, 4]),
      {"gas": 2, "turn": [3, 4]},
    ),
    (
      spaces.Tuple((spaces.Box(0, 1, (1,), np.float32), spaces.Box(-1, 0, (2,), np.float32))),
      np.float32([0.5, -0.5, -1]),
      ([0.5], [-0.5, -1]),
    ),
  ],
)
def test_actions_reach_the_environment_in_its_own_form(space, action, native):
  environment = echo(action=space)
  environment.seed(0)
  environment.reset()
  environment.action_spec().validate(action)
  environment.step(action)

  (taken,) = environment.gym.taken
  as_lists = lambda tree: (  # noqa: E731
    {key: as_lists(value) for key, value in tree.items()}
    if isinstance(tree, dict)
    else tuple(map(as_lists, tree))
    if isinstance(tree, tuple)
    else np.asarray(tree).tolist()
  )
  assert as_lists(taken) == native


def test_random_actions_reach_every_value():
  environment = echo(action=spaces.MultiDiscrete([2, 3], start=[5, 7]))
  random = loop.RandomExpert(environment.action_spec(), "test")
  list(loop.run_episodes([environment], loop.PerSlot([random]), range(40)))

  seen = {tuple(map(int, action)) for action in environment.gym.history}
  assert seen == {(a, b) for a in (5, 6) for b in (7, 8, 9)}


def test_success_and_time_are_those_of_the_environment():
  environment = echo()
  random = loop.RandomExpert(environment.action_spec(), "test")
  (episode,) = loop.run_episodes([environment], loop.PerSlot([random]), [0])

  assert episode.success and environment.control_timestep() == 1 / 20
  assert environment.render().shape == (20, 30, 3)


@pytest.mark.parametrize(
  ("observation", "action", "message"),
  [
    (spaces.Sequence(spaces.Discrete(2)), None, "'observation' is a Sequence"),
    (spaces.Dict(a=spaces.Discrete(2000)), None, "observation 'a' has 2,000 values"),
    (None, spaces.Box(-np.inf, 1, (2,), np.float32), "action '' has no bounds"),
    (None, spaces.Discrete(2000), "an action has 2,000 values"),
    (
      None,
      spaces.Dict(a=spaces.Discrete(2), b=spaces.Box(0, 1, (1,))),
      "action 'a' is a Discrete; an action is all discrete or all numbers",
    ),
  ],
)
def test_what_cannot_become_tokens_is_named(observation, action, message):
  with pytest.raises(GatoError, match=message):
    echo(observation, action)


def test_what_cannot_be_made_is_named():
  make = gymnasium_spaces.tasks({"a": "NoSuchThing-v0", "endless": "CliffWalking-v1"})
  with pytest.raises(GatoError, match="gymnasium.make\\('NoSuchThing-v0'\\): "):
    make("a")
  with pytest.raises(GatoError, match="CliffWalking-v1 has no time limit"):
    make("endless")
  with pytest.raises(GatoError, match="task"):
    make("b")

  gymnasium_spaces.tasks({"endless": "CliffWalking-v1"}, max_episode_steps=9)("endless").close()


@pytest.mark.parametrize(
  ("shape", "image_size", "resize", "expected"),
  [
    ((84, 84), None, "pad", (96, 96)),
    ((84, 84), None, "crop", (80, 80)),
    ((84, 84), None, "stretch", (96, 96)),
    ((210, 160), (96, 96), "pad", (96, 96)),
  ],
)
def test_images_are_brought_to_multiples_of_16(shape, image_size, resize, expected):
  assert resizing.size_for(shape, image_size, resize, "x") == expected
  image = np.full((*shape, 3), 200, np.uint8)
  assert resizing.fit(image, expected, resize).shape == (*expected, 3)


def test_padding_keeps_pixels_and_proportions():
  image = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30, 1)
  near = resizing.fit(image, (32, 32), "pad")
  np.testing.assert_array_equal(near[6:26, 1:31, 0], image[..., 0])
  assert not near[:6].any() and not near[26:].any()

  # 100 x 200 into 64 x 64: 32 rows of content between black ones.
  wide = resizing.fit(np.full((100, 200, 3), 255, np.uint8), (64, 64), "pad")
  assert (wide.any((1, 2)).sum(), wide.any((0, 2)).sum()) == (32, 64)
  assert resizing.fit(np.full((100, 200, 3), 255, np.uint8), (64, 64), "crop").all()
  assert resizing.fit(np.full((100, 200, 3), 255, np.uint8), (64, 64), "stretch").all()


@pytest.mark.parametrize(
  ("shape", "image_size", "resize", "message"),
  [
    ((84, 84), (100, 100), "pad", "would become 100 x 100"),
    ((84, 12), None, "crop", "would become 80 x 0"),
    ((84, 84), None, "squash", "way to resize"),
  ],
)
def test_sizes_that_do_not_fit_are_named(shape, image_size, resize, message):
  with pytest.raises(GatoError, match=message):
    resizing.size_for(shape, image_size, resize, "x")


def test_an_episode_that_is_over_shows_its_last_image():
  class Ending(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"]}
    observation_space = gymnasium.spaces.Discrete(2)
    action_space = gymnasium.spaces.Discrete(2)
    image: object = np.full((8, 8, 3), 7, np.uint8)

    def render(self):
      return self.image

  environment = gymnasium_spaces.GymnasiumSpaces(Ending(), name="ending")
  assert environment.render().max() == 7
  environment.gym.unwrapped.image = np.zeros(())  # what ViZDoom gives
  assert environment.render().max() == 7

  fresh = gymnasium_spaces.GymnasiumSpaces(environment.gym, name="ending")
  with pytest.raises(
    GatoError, match="ending renders no images: make it with render_mode='rgb_array'"
  ):
    fresh.render()
