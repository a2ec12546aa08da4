"""Drawn rooms and grids: their texts are true of their pixels, and drawing is supervised."""

import collections
import itertools
import re

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import rlds_builders
from gato_jax import documents
from gato_jax.errors import GatoError, MissingData
from rlds_builders.conceptual_captions import documents as captions
from rlds_builders.ok_vqa import documents as ok_vqa
from rlds_builders.scenes import contents, room_drawing, sampling
from rlds_builders.scenes.drawing_process import drawn
from rlds_builders.vqa_v2 import documents as vqa_v2

COUNT = 60
HUES = {"red": 0, "yellow": 43, "green": 85, "blue": 170, "purple": 191}  # of 255
GRID_COLOURS = {
  "red": (255, 0, 0),
  "green": (0, 255, 0),
  "blue": (0, 0, 255),
  "purple": (112, 39, 195),
  "yellow": (255, 255, 0),
  "grey": (100, 100, 100),
}


@pytest.fixture(scope="module")
def rooms() -> list[contents.Scene]:
  return list(drawn("rlds_builders.scenes.room_drawing:draw", "test", "train", 64, COUNT))


@pytest.fixture(scope="module")
def grids() -> list[contents.Scene]:
  return list(drawn("rlds_builders.scenes.grid_drawing:draw", "test", "train", 64, COUNT))


def painted(picture: np.ndarray) -> dict[str, np.ndarray]:
  """Maps each colour to a mask [H, W] of its pixels.

  They are of its hue, brighter and purer than walls and floors.
  """
  hue, saturation, value = np.moveaxis(
    np.asarray(Image.fromarray(picture).convert("HSV")).astype(int), -1, 0
  )
  masks = {}

  for colour, middle in HUES.items():
    away = np.abs((hue - middle + 128) % 256 - 128)
    pure = 130 if colour == "purple" else 240
    masks[colour] = (away <= 8) & (saturation >= pure) & (value >= 60)

  return masks


def middle(mask: np.ndarray) -> tuple[float, float]:
  """Column and row of a mask's centre of mass."""
  row, column = ndimage.center_of_mass(mask)
  return column, row


def test_the_colours_of_a_room_are_its_things(rooms):
  for scene in rooms:
    masks = painted(scene.image)
    seen = {colour for colour, mask in masks.items() if mask.sum() >= 20}

    assert seen == {thing.colour for thing in scene.things}

    for thing in scene.things:
      part = masks[thing.colour][thing.top : thing.bottom, thing.left : thing.right]
      assert part.sum() > 0.2 * part.size

    outside = np.ones(scene.image.shape[:2], bool)

    for thing in scene.things:
      outside[
        max(thing.top - 1, 0) : thing.bottom + 1, max(thing.left - 1, 0) : thing.right + 1
      ] = False

    assert max(int((mask & outside).sum()) for mask in masks.values()) <= 3

  assert {len(scene.things) for scene in rooms} == {1, 2, 3, 4}


def test_what_captions_say_of_colours_is_so_in_the_pixels(rooms):
  checked = collections.Counter()
  for scene in rooms:
    masks = painted(scene.image)
    for caption in captions.captions(scene):
      found = re.fullmatch(
        r"an? (\w+) (\w+) (left of|right of|in front of|behind) an? (\w+) (\w+)", caption
      )
      if not found:
        continue
      colour, _, word, other, _ = found.groups()
      if any(sum(thing.colour == c for thing in scene.things) > 1 for c in (colour, other)):
        continue
      (x, y), (other_x, other_y) = middle(masks[colour]), middle(masks[other])
      holds = {
        "left of": x < other_x,
        "right of": x > other_x,
        "in front of": y > other_y,
        "behind": y < other_y,
      }

      assert holds[word], caption

      checked[word] += 1

  assert min(checked[word] for word in ("left of", "right of", "in front of", "behind")) >= 5


def test_captions_count_and_list_everything(rooms):
  """A caption that begins with a number or lists things names all of them.

  Parsed again, it is the scene's content.
  """
  numbers = {"a": 1, "one": 1, "two": 2, "three": 3, "four": 4}

  for scene in rooms:
    kinds = collections.Counter(thing.kind for thing in scene.things)
    names = collections.Counter(thing.name for thing in scene.things)
    said = set(captions.captions(scene))

    assert said and len(said) == len(list(captions.captions(scene))) or len(scene.things) > 1

    for caption in said:
      if re.search(r"left|right|front|behind|room|there", caption):
        continue
      read = collections.Counter()
      for phrase in re.split(r", | and ", caption):
        number, *name = phrase.split()
        read[re.sub(r"(box)es$|(ball|key)s$", r"\1\2", " ".join(name))] += numbers[number]
      assert read in (kinds, names), caption


def pixel_answer(scene: contents.Scene, question: str) -> str | None:
  """Answers a question by the image's colours; None where they do not decide it."""
  masks = painted(scene.image)
  count = collections.Counter(thing.colour for thing in scene.things)
  if found := re.fullmatch(r"what colour is the \w+\?", question):
    return max(masks, key=lambda colour: masks[colour].sum()) if len(scene.things) == 1 else None

  if found := re.fullmatch(r"is the (\w+) \w+ (left|right) of the (\w+) \w+\?", question):
    one, word, other = found.groups()
    if one == other or count[one] > 1 or count[other] > 1:
      return None
    return "yes" if (middle(masks[one])[0] < middle(masks[other])[0]) == (word == "left") else "no"

  if found := re.fullmatch(r"how many (\w+) things are there\?", question):
    spots, number = ndimage.label(masks[found[1]], np.ones((3, 3)))
    large = sum(int((spots == spot).sum() >= 12) for spot in range(1, number + 1))
    apart = all(
      contents.left_of(a, b)
      for a, b in itertools.pairwise(sorted(scene.things, key=lambda t: t.left))
    )
    return str(large) if apart else None

  if found := re.fullmatch(r"what is (left|right) of the (\w+) \w+\?", question):
    if len(scene.things) != 2 or len(count) != 2:
      return None
    (other,) = set(count) - {found[2]}
    assert (middle(masks[other])[0] < middle(masks[found[2]])[0]) == (found[1] == "left")
    return next(thing.name for thing in scene.things if thing.colour == other)

  if found := re.fullmatch(r"which is nearer, the (\w+) \w+ or the (\w+) \w+\?", question):
    one, other = found.groups()
    if one == other or count[one] > 1 or count[other] > 1:
      return None
    lowest = {colour: np.flatnonzero(masks[colour].any(axis=1))[-1] for colour in (one, other)}
    return next(thing.name for thing in scene.things if thing.colour == max(lowest, key=lowest.get))

  assert re.fullmatch(r"what is the \w+ thing\?|how many \w+ are there\?", question), (
    "no form of these questions"
  )
  return None


def test_answers_are_those_of_the_pixels(rooms):
  checked = collections.Counter()
  for scene in rooms:
    for kind, question, answer in vqa_v2.candidates(scene):
      found = pixel_answer(scene, question)
      if found is not None:
        assert found == answer, question
        checked[kind] += 1

  assert min(checked[kind] for kind in ("colour", "count", "order", "relation", "depth")) >= 8, (
    checked
  )


def test_a_question_has_one_answer_and_names_one_thing(rooms, grids):
  named = re.compile(r"the (?:(red|green|blue|purple|yellow|grey) )?(box|ball|key|thing)\b")
  for scenes, candidates in ((rooms, vqa_v2.candidates), (grids, ok_vqa.candidates)):
    for scene in scenes:
      answers = collections.defaultdict(set)
      for _, question, answer in candidates(scene):
        answers[question].add(answer)
        for colour, kind in named.findall(question):
          meant = [
            t for t in scene.things if colour in ("", t.colour) and kind in ("thing", t.kind)
          ]
          assert len(meant) == 1, question

      assert all(len(found) == 1 for found in answers.values())


def test_what_is_cut_hidden_or_small_is_drawn_anew():
  def mask(rows: slice, columns: slice) -> np.ndarray:
    found = np.zeros((64, 64), bool)
    found[rows, columns] = True
    return found

  whole = mask(slice(20, 30), slice(20, 30))

  assert room_drawing._plain(whole, whole) and room_drawing._plain(
    whole, mask(slice(20, 30), slice(20, 28))
  )
  assert not room_drawing._plain(
    whole, mask(slice(20, 30), slice(20, 27))
  )  # 30 of 100 pixels are hidden

  for rows, columns in itertools.permutations([slice(20, 30), slice(0, 10)]):
    assert not room_drawing._plain(cut := mask(rows, columns), cut)
  for rows, columns in itertools.permutations([slice(20, 30), slice(54, 64)]):
    assert not room_drawing._plain(cut := mask(rows, columns), cut)
  small = mask(slice(20, 26), slice(20, 28))

  assert not room_drawing._plain(small, small)


def test_every_thing_is_within_the_picture_large_and_near_enough(rooms):
  for scene in rooms:
    for thing in scene.things:
      assert thing.left > 0 and thing.top > 0 and thing.right < 64 and thing.bottom < 64
      assert (thing.right - thing.left) * (thing.bottom - thing.top) >= 49
      assert 1.8 <= thing.distance <= 4.2


def cell_colours(picture: np.ndarray) -> dict[tuple[int, int], str]:
  """Maps (column, row) of non-empty cells to the colour nearest to their brightest pixels."""
  found = {}

  for row, column in np.ndindex(4, 4):
    cell = (
      picture[row * 16 + 2 : row * 16 + 15, column * 16 + 2 : column * 16 + 15]
      .reshape(-1, 3)
      .astype(int)
    )
    brightest = cell[cell.max(axis=1) >= max(cell.max() - 5, 60)]

    if len(brightest):
      colour = brightest.mean(axis=0)
      found[column, row] = min(
        GRID_COLOURS, key=lambda name: np.abs(colour - GRID_COLOURS[name]).sum()
      )

  return found


def test_grids_show_what_they_say(grids):
  checked = collections.Counter()
  for scene in grids:
    cells = cell_colours(scene.image)
    assert cells == {(thing.column, thing.row): thing.colour for thing in scene.things}

    where = {
      colour: cell for cell, colour in cells.items() if list(cells.values()).count(colour) == 1
    }

    for kind, question, answer in ok_vqa.candidates(scene):
      if found := re.fullmatch(
        r"is the (\w+) \w+ (left of|right of|above|below) the (\w+) \w+\?", question
      ):
        one, word, other = found.groups()
        if one in where and other in where:
          (x, y), (other_x, other_y) = where[one], where[other]
          holds = {
            "left of": x < other_x,
            "right of": x > other_x,
            "above": y < other_y,
            "below": y > other_y,
          }[word]
          assert answer == ("yes" if holds else "no"), question
          checked[kind] += 1
      elif found := re.fullmatch(r"what is in the (top|bottom) (left|right) corner\?", question):
        cell = (0 if found[2] == "left" else 3, 0 if found[1] == "top" else 3)
        assert cells[cell] == answer.split()[0]
        checked[kind] += 1
      elif found := re.fullmatch(
        r"what is directly (left of|right of|above|below) the (\w+) \w+\?", question
      ):
        if found[2] in where:
          x, y = where[found[2]]
          dx, dy = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}[
            found[1]
          ]
          assert cells[x + dx, y + dy] == answer.split()[0], question
          checked[f"directly {found[1]}"] += 1
      elif question == "how many things are there?":
        assert answer == str(len(cells))
        checked[kind] += 1
      else:
        assert re.fullmatch(
          r"what colour is the \w+\?|what is the \w+ thing\?|how many \w+( things)? are there\?",
          question,
        )

  assert min(checked[kind] for kind in ("order", "position", "count")) >= 30
  assert min(checked[f"directly {word}"] for word in ("left of", "right of", "above", "below")) >= 5


def test_answers_are_balanced(rooms, grids):
  for scenes, candidates in ((rooms, vqa_v2.candidates), (grids, ok_vqa.candidates)):
    questions = list(sampling.ask(scenes, candidates, "train", "test"))
    assert len(questions) > 1.8 * COUNT
    yes_no = collections.Counter(q.answer for q in questions if q.question.startswith("is "))
    assert abs(yes_no["yes"] - yes_no["no"]) <= 0.2 * yes_no.total() and yes_no.total() >= 10
    assert all(len(q.answers) == 1 for q in questions)


@pytest.mark.parametrize(
  ("domain", "task", "kind"),
  [
    ("conceptual_captions", "scenes", documents.CaptionedImage),
    ("vqa_v2", "scenes", documents.Question),
    ("ok_vqa", "grids", documents.Question),
  ],
)
def test_documents_are_the_same_every_time_and_splits_differ(domain, task, kind):
  def first(split: str, side: int = 64) -> list:
    found = rlds_builders.get(domain).read_documents(task, split, side)
    taken = list(itertools.islice(found, 6))
    found.close()
    return taken

  assert documents.KINDS[rlds_builders.get(domain).document_kind] is kind

  once, again, held_out = first("train"), first("train"), first("validation", 96)

  for a, b in zip(once, again, strict=True):
    assert isinstance(a, kind) and a.image.dtype == np.uint8 and a.image.shape == (64, 64, 3)
    np.testing.assert_array_equal(a.image, b.image)
    assert documents.sequences(a)[0][1:] == documents.sequences(b)[0][1:]

  assert held_out[0].image.shape == (96, 96, 3)
  assert [documents.sequences(a)[0][1:] for a in once] != [
    documents.sequences(a)[0][1:] for a in held_out
  ]


@pytest.mark.parametrize("domain", ["conceptual_captions", "vqa_v2", "ok_vqa"])
def test_what_cannot_be_read_is_one_line(tmp_path, monkeypatch, domain):
  monkeypatch.setenv("GATO_SOURCES", str(tmp_path))
  made = rlds_builders.get(domain)

  with pytest.raises(MissingData, match=domain):
    next(iter(made.read_documents("files", "train", 64)))
  with pytest.raises(GatoError, match="'test'"):
    next(iter(made.read_documents(made.tasks[0], "test", 64)))
  with pytest.raises(GatoError, match="multiple of 16"):
    next(iter(made.read_documents(made.tasks[0], "train", 60)))
