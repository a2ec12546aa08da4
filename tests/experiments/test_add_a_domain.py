"""docs/add_a_domain.md works: its files are written into a copy and its commands run there."""

import followed_page
import numpy as np
import pytest

from gato_jax.env import results

ROOT = followed_page.ROOT


def sections():
  return followed_page.sections("add_a_domain.md")


def follow(root, headings):
  return "".join(followed_page.follow(root, sections()[heading]) for heading in headings)


@pytest.fixture
def copy(tmp_path):
  assert not (ROOT / "rlds_builders/lander").exists(), (
    "the page's domain must not be in the repository"
  )

  followed_page.copy(tmp_path)
  return tmp_path


@pytest.mark.slow  # the page's verbs one after the other, a quarter of a minute
def test_files_and_commands_up_to_check(copy):
  headings = list(sections())
  said = follow(copy, headings[: headings.index("5. Test and check it") + 1])
  for task in ("calm", "windy"):
    assert f"ok   lander.{task}: episodes: 2, kept: 2" in said
  shown = next(
    text for _, language, text in sections()["5. Test and check it"] if language == "text"
  )

  for (
    line
  ) in shown.splitlines():  # the doc's numbers of an episode are this machine's, its tokens are not
    if not line.startswith("ok "):
      assert line in said


@pytest.mark.slow
def test_the_whole_page(copy):
  said = follow(copy, sections())
  assert (copy / "rlds_builders/lander/scores.json").exists() and (
    copy / "work/lander/report/index.html"
  ).exists()

  returns = {"gato": [], "random": []}
  for row in results.read(copy / "work/lander/results.jsonl"):
    if row.actor in returns:
      returns[row.actor].append(row.episode_return)

  assert len(returns["gato"]) == len(returns["random"]) == 40
  assert np.mean(returns["gato"]) > np.mean(returns["random"]) + 10, (
    said
  )  # a tenth of what landing every time earns
