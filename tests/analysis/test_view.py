"""experiments.view: what is odd about episodes, and the page that shows them."""

import json
import re
import threading
import urllib.request

import browser
import numpy as np
import pytest

from experiments.analysis.report import html
from experiments.analysis.view import content, findings, page
from gato_jax.data import prepared
from gato_jax.tokens import codec

TEXT = codec.default_text_codec()


def episode(index=0, steps=60, **changes) -> findings.EpisodeColumns:
  """An episode without anything odd."""
  random = np.random.default_rng(index)
  columns = {
    "numbers": {
      "state": random.normal(size=(steps, 3)).cumsum(0),
      "action": random.uniform(-1, 1, (steps, 2)),
    },
    "images": {"camera": random.integers(0, 256, (steps, 16, 16, 3), np.uint8)},
    "texts": {"instruction": ["go"] * steps},
  }
  return findings.EpisodeColumns(index, **(columns | changes))


def kinds(*episodes, bins=None):
  return [finding.kind for finding in findings.find(episodes, bins or {})]


def test_ordinary_episodes_have_no_findings():
  assert kinds(*(episode(i) for i in range(5)), bins={"state": np.array([500, 300, 104])}) == []


def test_the_longest_run():
  run = lambda *values: findings.longest_run(np.array(values, bool))  # noqa: E731
  assert run(0, 1, 1, 0, 1, 1, 1) == (4, 3)
  assert run(1, 1) == (0, 2)
  assert run(0, 0) == run() == (0, 0)


def test_repeated_episodes_are_found_and_those_that_differ_in_an_image_are_not():
  first = episode(0)
  again = episode(7, numbers=first.numbers, images=first.images)
  (found,) = findings.find([first, episode(1), again], {})
  assert found.kind == "duplicates" and "such as 0 and 7" in found.text and found.episode == 7

  assert kinds(first, episode(7, numbers=first.numbers)) == []
  assert (
    kinds(
      first,
      episode(7, numbers=first.numbers, images=first.images, texts={"instruction": ["stop"] * 60}),
    )
    == []
  )


def test_a_number_that_never_changes_is_named():
  def constant(index):
    numbers = dict(episode(index).numbers)
    numbers["state"] = numbers["state"].copy()
    numbers["state"][:, 1] = 0.5
    return episode(index, numbers=numbers)

  (found,) = findings.find([constant(0), constant(1)], {})
  assert found.text == "state has numbers that never change: 1 (0.5)"


def test_few_bins_are_named_where_enough_was_read():
  bins = {"action": np.array([51, 1024, 2, 1])}  # two values are a switch, one is a constant
  many = [episode(i) for i in range(10)]
  (found,) = findings.find(many, bins)
  assert found.text == "action has numbers that use few of 1,024 bins: 0 (51)"
  assert kinds(episode(0), bins=bins) == []


def test_idle_spans_and_frozen_cameras_are_told_apart():
  idle = episode(1)
  for column in (*idle.numbers.values(), *idle.images.values()):
    column[10:35] = column[10]
  (found,) = findings.find([episode(0), idle], {})
  assert (found.kind, found.episode, found.step) == ("idle", 1, 10)
  assert "25 steps from step 10 of episode 1" in found.text

  frozen = episode(2)
  frozen.images["camera"][20:50] = 7
  (found,) = findings.find([episode(0), frozen], {})
  assert (found.kind, found.episode, found.step) == ("frozen camera", 2, 20)

  short = episode(3)
  short.images["camera"][20:30] = 7
  assert kinds(episode(0), short) == []


def test_a_leap_of_a_number_is_found():
  smooth = np.linspace(0, 1, 200)[:, None] + np.sin(np.arange(200))[:, None] * 1e-3
  leaping = smooth + np.where(np.arange(200) > 120, 3.0, 0.0)[:, None]
  action = np.random.default_rng(0).uniform(-1, 1, (200, 1))

  def of(index, state):
    return findings.EpisodeColumns(index, {"state": state, "action": action}, {}, {})

  (found,) = findings.find([of(0, leaping)], {})
  assert (found.kind, found.episode, found.step) == ("jump", 0, 120)
  assert kinds(of(0, smooth)) == []


@pytest.fixture(scope="module")
def shown(dummy_tfds):
  data = prepared.load(dummy_tfds, "dummy.reach")
  return data, content.task_content(data, TEXT, 2)


def test_the_content_is_that_of_the_dataset(shown):
  data, task = shown
  assert task["task"] == "dummy.reach"
  assert task["returns"]["episodes"] == len(data.lengths)
  assert task["returns"]["kept"] == len(data.kept)
  assert sum(task["returns"]["returns"]) == len(data.lengths)

  first = task["episodes"][0]
  window = data.read([(0, 0, int(data.lengths[0]))])
  assert first["steps"] == list(range(data.lengths[0]))
  np.testing.assert_allclose(
    np.array(first["curves"]["action"]).T, window.action.reshape(len(window.action), -1), atol=1e-4
  )
  (urls,) = first["images"].values()
  assert len(urls) == len(first["steps"])
  assert all(url.startswith("data:image/jpeg;base64,") for url in urls)
  assert first["texts"]["instruction"][0] == window.observation["instruction"][0].decode()
  assert first["return"] == pytest.approx(data.returns[0], rel=1e-4)

  action = next(field for field in first["tokens"] if field["field"] == "action")
  assert all(32_000 <= token < 33_024 for step in action["ids"] for token in step)


def test_the_page_holds_all_of_it_and_needs_no_other_file(shown, tmp_path):
  _, task = shown
  hostile = task | {"task": "</script><b>x"}
  text = page.write(tmp_path / "index.html", "dummy", [task, hostile]).read_text()

  (embedded,) = re.findall(r'id="content">(.*?)</script>', text, re.DOTALL)
  assert json.loads(embedded) == json.loads(json.dumps([task, hostile]))
  assert not re.search(r'(src|href)="(?!data:)', text)


@browser.needed
def test_the_slider_moves_images_texts_and_tokens_together(shown, tmp_path):
  _, task = shown
  path = page.write(tmp_path / "index.html", "dummy", [task])
  moved = browser.evaluate(
    path,
    """
      const box = document.querySelector("section");
      const before = box.querySelector("img").src;
      const slider = box.querySelector("input");
      slider.value = 2;
      slider.dispatchEvent(new Event("input"));
      return JSON.stringify({
        moved: box.querySelector("img").src !== before,
        place: box.querySelector(".controls span").textContent,
        tokens: box.querySelector(".tokens").textContent,
        cursor: box.querySelector("svg line").getAttribute("x1"),
      });
    """,
  )
  found = json.loads(moved)
  first = task["episodes"][0]

  assert found["moved"] and found["place"] == f"step 2 of {first['length']}"
  action = next(field for field in first["tokens"] if field["field"] == "action")
  assert " ".join(map(str, action["ids"][2])) in found["tokens"]
  assert float(found["cursor"]) == pytest.approx(200 / (len(first["steps"]) - 1))


@browser.needed
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_can_be_read_at_every_width(shown, tmp_path, dark):
  _, task = shown
  path = page.write(tmp_path / "index.html", "dummy", [task])
  browser.assert_readable(path, dark)


def test_json_that_is_none_is_refused():
  with pytest.raises(ValueError):
    html.embedded_json({"a": float("nan")})


def test_the_page_is_served_on_this_machine_only(tmp_path, capsys):
  (tmp_path / "index.html").write_text("hello")
  ready = threading.Event()
  addresses = []

  class Server(page.http.server.ThreadingHTTPServer):
    def serve_forever(self, *arguments):
      addresses.append(self.server_address)
      ready.set()
      super().serve_forever(*arguments)

  original, page.http.server.ThreadingHTTPServer = page.http.server.ThreadingHTTPServer, Server
  try:
    threading.Thread(target=page.serve, args=(tmp_path, 0), daemon=True).start()
    assert ready.wait(10)
  finally:
    page.http.server.ThreadingHTTPServer = original

  host, port = addresses[0]
  assert host == "127.0.0.1"
  with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
    assert answer.read() == b"hello"
