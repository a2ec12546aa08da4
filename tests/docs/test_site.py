"""The documentation's site, built from a clone."""

import json
import os
import pathlib
import re
import subprocess
import sys

import browser
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow  # a build reads every module: a minute


def build(checkout):
  # `make docs` also executes the notebook, which takes minutes.
  return subprocess.run(
    [sys.executable, "-m", "mkdocs", "build", "--strict"],
    cwd=checkout,
    env=os.environ | {"EXECUTE": "false"},
    capture_output=True,
    text=True,
  )


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
  path = tmp_path_factory.mktemp("site") / "clone"
  subprocess.run(["git", "clone", "-q", ROOT, path], check=True)
  return path


@pytest.fixture(scope="module")
def site(clone):
  done = build(clone)
  assert done.returncode == 0, done.stdout + done.stderr
  return clone / "build/site"


def test_it_has_the_pages_the_domains_and_the_modules(site):
  for page in (
    "index.html",
    "docs/tour/index.html",
    "docs/quickstart/index.html",
    "rlds_builders/babyai/index.html",
    "pretrained/generalist/MODEL_CARD/index.html",
    "reference/gato_jax/tokens/layout/index.html",
    "reference/gato_jax/agent/index.html",
  ):
    assert (site / page).exists(), page

  # What pages look like comes from the theme and from us.
  home = (site / "index.html").read_text()
  styles = re.findall(r'<link rel="stylesheet" href="([^"]+)"', home)
  assert "wide.css" in styles and len(styles) >= 3
  assert all((site / style).exists() for style in styles)

  # Signatures, and docstrings as sections.
  reference = (site / "reference/gato_jax/agent/policy/index.html").read_text()
  assert "history_stride" in reference and "The checkpoint does not know the task." in reference

  found = json.loads((site / "search/search_index.json").read_text())["docs"]
  locations = [entry["location"] for entry in found if "mu-law" in entry["text"]]
  assert any(location.startswith("docs/tour/") for location in locations)


@browser.needed
@pytest.mark.parametrize(
  "page", ["index.html", "docs/tour/index.html", "docs/quickstart/index.html"]
)
def test_pages_fit_a_phone_and_their_images_load(site, page):
  faults = browser.faults(site / page)
  assert not [fault for fault in faults if "scrolls" in fault or "does not load" in fault]


@pytest.mark.parametrize(
  "text, said",
  [
    ("[x](nowhere.md)", "nowhere.md"),
    ("[x](training.md#no-such-part)", "no-such-part"),
    ("[x](../gato_jax/no_module.py)", "no_module.py"),
  ],
)
def test_a_link_that_leads_nowhere_is_an_error(clone, text, said):
  page = clone / "docs/batch.md"
  before = page.read_text()
  try:
    page.write_text(f"{before}\n{text}\n")
    done = build(clone)
  finally:
    page.write_text(before)

  assert done.returncode == 1 and said in done.stdout + done.stderr
