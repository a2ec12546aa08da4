"""The playroom: the task of each kind of instruction, its text, its colours, and the expert."""

import colorsys
import itertools
import pathlib

import numpy as np
import pytest
import sentencepiece

import gato_jax
from gato_jax.domain import environment_task_spec
from gato_jax.env import loop
from gato_jax.task import check_environment
from rlds_builders import playroom
from rlds_builders.playroom import environment
from rlds_builders.worlds.first_person import DROP, LEFT, PICK_UP

DOMAIN = playroom.DOMAIN
_TEXT_MODEL = pathlib.Path(gato_jax.__file__).parent / "tokens/text.model"


@pytest.fixture(scope="module")
def worlds():
  """A world of each task, in which tests begin their own episodes."""
  return {task: environment.make(task).world for task in DOMAIN.tasks}


def beside(made, entity, towards: bool = False) -> None:
  """Puts the agent where it touches an entity, facing away or towards it."""
  distance = entity.radius + made.agent.radius + 0.1
  made.agent.pos, made.agent.dir = entity.pos + [distance, 0, 0], np.pi if towards else 0.0


@pytest.mark.parametrize("task", DOMAIN.tasks)
def test_a_task_is_what_its_spec_says_comes_from_its_seed_and_is_solved(task):
  made, another = (DOMAIN.make_environment(task) for _ in range(2))
  spec = environment_task_spec(DOMAIN, task, made)
  check_environment(spec, made)
  starts = []
  for environment_ in (made, another):
    environment_.seed(7)
    starts.append(environment_.reset().observation)

  np.testing.assert_array_equal(starts[0]["image"], starts[1]["image"])
  assert starts[0]["instruction"] == starts[1]["instruction"]
  assert made.step(np.int32(LEFT)).observation["instruction"] == starts[0]["instruction"]

  actor = loop.PerSlot([DOMAIN.make_expert(made, task)])
  for episode in loop.run_episodes([made], actor, [1_000_003, 1_000_004]):
    assert episode.success and 0.8 < episode.episode_return < 1
  made.close()
  another.close()


def test_instructions_differ_and_fit(worlds):
  pieces = sentencepiece.SentencePieceProcessor(model_file=str(_TEXT_MODEL))
  longest = {}

  for task, made in worlds.items():
    reserved = DOMAIN.task_text_tokens.get(task, DOMAIN.max_text_tokens)["instruction"]
    said = set()
    for seed in range(25):
      made.reset(seed=seed)
      said.add(made.instruction)
    longest[task] = max(len(pieces.encode(text)) for text in said)
    assert len(said) >= 5 and longest[task] <= reserved, (task, said)

  names = itertools.product(environment.NAMES, repeat=2)  # two of everything that can be said

  assert max(len(pieces.encode(f"walk to the {a} next to the {b}")) for a, b in names) == 10
  assert max(longest.values()) >= 9


def colour_ahead(made, entity) -> str:
  """Name of the colour in the middle of the image, seen from 1.2 metres before an entity."""
  distance = entity.radius + 1.2

  for angle in np.arange(0, 2 * np.pi, np.pi / 6):  # from where nothing else is in between
    made.agent.pos = entity.pos - distance * np.array([np.cos(angle), 0, -np.sin(angle)])
    made.agent.dir = angle
    if not made.intersect(made.agent, made.agent.pos, 0.4):
      break

  middle = made.render_obs()[30:44, 34:46].reshape(-1, 3) / 255
  hues = [colorsys.rgb_to_hsv(*pixel) for pixel in middle]
  hue = np.median([h for h, saturation, _ in hues if saturation > 0.75])
  known = {"red": 0.0, "yellow": 1 / 6, "green": 1 / 3, "blue": 2 / 3, "purple": 0.745}
  return min(known, key=lambda name: min(abs(hue - known[name]), 1 - abs(hue - known[name])))


@pytest.mark.parametrize(
  "task", ["go_to", "pick_up", "go_to_in_order", "go_to_beside", "touch_all"]
)
def test_what_is_named_has_its_colour_in_the_picture(worlds, task):
  made, right = worlds[task], 0
  for seed in range(12):
    made.reset(seed=seed)
    named = next(word for word in made.instruction.split() if word in environment.COLOURS)
    right += colour_ahead(made, made.turns[0][0]) == named
  assert right >= 11  # something else may stand in the way


def test_touching_another_thing_ends_the_episode(worlds):
  made = worlds["go_to"]
  made.reset(seed=1)
  beside(made, made.untouched[2])

  assert made.move(LEFT) == (0.0, True) and not made.success

  made.reset(seed=1)
  beside(made, made.untouched[0])

  assert made.move(LEFT) == (pytest.approx(1 - 0.2 / made.limit), True) and made.success


def test_order_matters_where_it_is_said(worlds):
  made = worlds["go_to_in_order"]
  made.reset(seed=2)
  second = made.turns[1][0]
  beside(made, second)

  assert made.move(LEFT) == (0.0, True) and not made.success

  made.reset(seed=2)
  first, second = made.turns[0][0], made.turns[1][0]
  beside(made, first)

  assert made.move(LEFT) == (0.0, False)

  beside(made, first)  # once more changes nothing

  assert made.move(LEFT) == (0.0, False)

  beside(made, second)

  assert made.move(LEFT)[1] and made.success


def test_everything_of_a_colour_in_any_order(worlds):
  made = worlds["touch_all"]
  made.reset(seed=3)
  things = list(made.turns[0])

  assert len(things) >= 2

  for thing in reversed(things):
    assert not made.success
    beside(made, thing)
    made.move(LEFT)

  assert made.success


def test_the_right_one_of_two_alike_is_beside_what_is_named(worlds):
  made, coloured = worlds["go_to_beside"], 0
  for seed in range(10):
    made.reset(seed=seed)
    right, other = made.untouched
    anchors = [e for e in made.entities if e not in (right, other, made.agent)]
    gaps = [
      [np.linalg.norm(a.pos - e.pos) - a.radius - e.radius for a in anchors] for e in (right, other)
    ]

    assert gaps[0][0] == pytest.approx(0.2) and gaps[1][1] == pytest.approx(0.2)
    assert gaps[0][1] > 0.6 and gaps[1][0] > 0.6

    if hasattr(anchors[0], "color"):  # keys have none
      coloured += 1
      assert made.instruction.split()[-2] == anchors[0].color

  assert coloured >= 4


def test_the_largest_or_the_smallest_box(worlds):
  made, said = worlds["go_to_largest"], set()
  for seed in range(10):
    made.reset(seed=seed)
    word = made.instruction.split()[-2]
    said.add(word)
    extreme = max if word == "largest" else min
    assert extreme(made.untouched, key=lambda box: box.height) is made.turns[0][0]

  assert said == {"largest", "smallest"}


def test_not_of_a_colour(worlds):
  made = worlds["go_to_not"]
  made.reset(seed=4)
  assert colour_ahead(made, made.turns[0][0]) != made.instruction.split()[-1]
  assert colour_ahead(made, made.untouched[1]) == made.instruction.split()[-1]


def test_taking_another_thing_ends_the_episode(worlds):
  made = worlds["pick_up"]
  made.reset(seed=5)
  beside(made, made.untouched[0])

  assert made.move(PICK_UP) == (0.0, False)  # it lies behind

  beside(made, made.untouched[1], towards=True)

  assert made.move(PICK_UP) == (0.0, True) and not made.success

  made.reset(seed=5)
  beside(made, made.untouched[0], towards=True)

  assert made.move(PICK_UP)[1] and made.success


def test_putting_next_to(worlds):
  made = worlds["put_next_to"]
  made.reset(seed=6)
  before = made.render_obs()
  beside(made, made.carried, towards=True)
  made.move(PICK_UP)

  assert made.agent.carrying is made.carried and made.carried not in made.entities
  assert (
    np.abs(made.render_obs()[40:].astype(int) - before[40:]).mean() > 5
  )  # what is carried is seen

  made.agent.pos, made.agent.dir = np.array([9.5, 0, 5.0]), 0.0
  made.move(DROP)

  assert made.agent.carrying is made.carried  # the wall is in the way

  made.agent.dir = np.pi

  assert made.move(DROP) == (0.0, False) and made.agent.carrying is None

  beside(made, made.carried, towards=True)
  made.move(PICK_UP)
  gap = 0.3
  distance = made.drop_distance(made.carried) + made.carried.radius + made.target.radius + gap
  others = [e for e in made.entities if e not in (made.agent, made.target)]

  for angle in np.arange(0, 2 * np.pi, np.pi / 8):
    spot = made.target.pos - distance * np.array([np.cos(angle), 0, -np.sin(angle)])
    if (
      min(np.linalg.norm(e.pos - spot) for e in others) > 1.5 and spot.min() >= 0 and spot.max() < 9
    ):
      break

  made.agent.pos, made.agent.dir = spot, angle
  reward, over = made.move(DROP)

  assert over and made.success and reward > 0.9
