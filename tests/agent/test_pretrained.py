"""The network in pretrained/generalist: whole, described by its card, and able to act and talk."""

import pathlib

import commands
import numpy as np
import pytest

import rlds_builders
from gato_jax import agent
from gato_jax.domain import SimulatedDomain
from gato_jax.env import loop

pytestmark = pytest.mark.alone  # a simulator runs here, and TensorFlow in its neighbours

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "pretrained/generalist"


@pytest.fixture(scope="module")
def policy() -> agent.Policy:
  # Loading compares every file with its SHA-256.
  return agent.Policy(FOLDER)


def test_it_is_small_enough_to_be_handed_out():
  files = [path for path in FOLDER.rglob("*") if path.is_file()]
  assert sum(path.stat().st_size for path in files) <= 16 * 2**20


def test_it_knows_the_tasks_of_its_config_and_of_today(policy):
  control = [task for task in policy.tasks if not policy.spec(task).is_document]
  domains = {task.partition(".")[0] for task in control}
  assert len(control) >= 215 and len(domains) >= 9

  for name in domains:
    domain = rlds_builders.get(name)
    assert isinstance(domain, SimulatedDomain)
    short = {task.partition(".")[2] for task in control if task.startswith(f"{name}.")}
    assert short <= set(domain.tasks)


def test_its_card_has_every_task(policy):
  card = (FOLDER / "MODEL_CARD.md").read_text()
  for task in policy.tasks:
    assert task.partition(".")[2] in card, task


def test_it_beats_random_actions_where_it_can_be_played_quickly(policy):
  """BabyAI's smallest room: three in four episodes are solved, of random ones a few."""
  domain = rlds_builders.get("babyai")
  assert isinstance(domain, SimulatedDomain)
  task, seeds = "GoToRedBallNoDists", range(1_000_000_000, 1_000_000_008)
  environment = domain.make_environment(task)
  act = agent.ActConfig(history_steps=4, prompt="none")

  def mean_return(actor):
    return np.mean([e.episode_return for e in loop.run_episodes([environment], actor, seeds)])

  random = loop.PerSlot([loop.RandomExpert(environment.action_spec(), f"babyai.{task}")])
  assert mean_return(policy.actor(f"babyai.{task}", 1, act)) > mean_return(random) + 0.2


@pytest.mark.slow  # compiles the generator of the shipped network, half a minute
def test_it_continues_a_text():
  done = commands.run(
    "experiments.generate",
    f"--checkpoint={FOLDER}",
    "--text=The function returns",
    "--max_tokens=4",
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.strip()
