"""The agent: its step-by-step logits are those of the full forward pass, prompts, legal actions, wrong specs."""

import conftest
import numpy as np
import pytest

import rlds_builders
from gato_jax import agent, environment_loop, evaluate, results, specs
from gato_jax.errors import GatoError
from gato_jax.model import Gato
from gato_jax.tokens import layout
from gato_jax.tokens.vocabulary import Kind

DOMAIN = rlds_builders.get("dummy")
CONFIG = conftest.SMALL


@pytest.fixture(scope="module")
def policy(small_workdir):
  return agent.Policy(small_workdir)


def test_a_checkpoint_alone_makes_an_actor(policy):
  assert policy.step == 5 and policy.tasks == ["dummy.reach", "dummy.reach_discrete"]
  assert policy.text.decode(policy.text.encode("go to the red square")) == "go to the red square"


@pytest.mark.parametrize("task", DOMAIN.tasks)
def test_greedy_actions_are_those_of_the_full_forward_pass(policy, task):
  """The whole episode as one row, nothing remembered: every action must be the most likely legal token there."""
  environment = DOMAIN.make_environment(task)
  token_layout = layout.TokenLayout(policy.spec(f"dummy.{task}"), policy.text)
  steps_in_memory = CONFIG.memory_length // token_layout.length
  actor = policy.actor(f"dummy.{task}", 1, agent.ActConfig(temperature=0.0, prompt="none"))
  environment.seed(4)
  timestep = environment.reset()
  actor.reset(0, 4)
  seen, actions = [], []
  for _ in range(steps_in_memory):
    actions.append(actor.act({0: timestep})[0])
    seen.append(specs.flatten(timestep.observation))
    timestep = environment.step(actions[-1])
    assert not timestep.last()
  stacked = {k: np.stack([o[k] for o in seen]) for k in seen[0]}
  steps = token_layout.encode(stacked, np.stack(actions))
  row = actor._chunk(layout.Steps(**{k: v.reshape(1, -1, *v.shape[2:]) for k, v in vars(steps).items()}))
  row["segments"] = np.where(row["kinds"] == Kind.PADDING, 0, 1)
  model = Gato(CONFIG)
  hidden = model.apply({"params": policy.params}, row)
  logits = np.array(model.apply({"params": policy.params}, hidden, method="logits"))[0]
  low, high = token_layout.legal_actions()
  positions = np.flatnonzero(row["kinds"][0] == Kind.ACTION)
  for n, position in enumerate(positions):
    legal = slice(low[n % len(low)], high[n % len(low)] + 1)
    assert row["tokens"][0, position] == legal.start + np.argmax(logits[position - 1, legal])


def test_actions_do_not_depend_on_who_else_is_in_the_batch(policy):
  config = agent.ActConfig(temperature=1.0)

  def play(seeds, slots):
    environments = [DOMAIN.make_environment("reach") for _ in range(slots)]
    episodes = environment_loop.run_episodes(environments, policy.actor("dummy.reach", slots, config), seeds)
    return {e.seed: round(e.episode_return, 3) for e in episodes}

  together = play([11, 12, 13, 14, 15], 3)
  assert together[14] == play([14], 1)[14] and together[11] == play([11], 1)[11]
  assert len(set(together.values())) == 5


def test_the_prompt_is_read_and_changes_what_is_done(policy):
  def first_action(prompt):
    environment = DOMAIN.make_environment("reach")
    environment.seed(2)
    actor = policy.actor("dummy.reach", 1, agent.ActConfig(temperature=0.0, prompt=prompt))
    actor.reset(0, 2)
    action = actor.act({0: environment.reset()})[0]
    return action, int(actor._memory.count[0]) // actor.layout.length

  prompted, steps = first_action("start")
  plain, one = first_action("none")
  assert one == 1 and 1 < steps <= CONFIG.memory_length // 2 // 26 + 1
  assert not np.array_equal(prompted, plain)


def test_episodes_longer_than_the_memory_go_on(policy):
  """40 steps of 25 tokens through a memory of 256: four wraps, finite actions within their bounds."""
  environment = DOMAIN.make_environment("reach_discrete")
  actor = policy.actor("dummy.reach_discrete", 1, agent.ActConfig())
  (episode,) = environment_loop.run_episodes([environment], actor, [1])
  assert episode.length >= 1 and int(actor._memory.count[0]) >= episode.length * actor.layout.length


def test_evaluation_continues_where_it_was_killed(policy, tmp_path):
  path = tmp_path / "results.jsonl"
  make_actor = lambda environments: policy.actor("dummy.reach", len(environments), agent.ActConfig())  # noqa: E731
  first = evaluate.missing_seeds(path, "dummy.reach", "gato", 5, 4)
  for row in list(evaluate.play(DOMAIN, "reach", make_actor, "gato", first[:2], 2, step=5)):
    results.append(path, [row])
  with path.open("a") as f:
    f.write('{"task": "dummy.rea')  # a kill while writing
  left = evaluate.missing_seeds(path, "dummy.reach", "gato", 5, 4)
  assert left == first[2:] == [1_000_002, 1_000_003]
  assert evaluate.missing_seeds(path, "dummy.reach", "gato", 6, 4) == first


def test_an_environment_of_another_spec_is_refused_by_field(policy):
  spec = policy.spec("dummy.reach")
  changed = specs.TaskSpec.from_json(spec.to_json() | {"max_text_tokens": {"instruction": 13}})
  with pytest.raises(GatoError, match="trained on another spec .max_text_tokens 'instruction': 12 against 13"):
    policy.check_environment(changed)
  policy.check_environment(spec)


def test_unknown_tasks_and_missing_files_are_named(policy, small_workdir, tmp_path):
  with pytest.raises(GatoError, match="did you mean 'dummy.reach'"):
    policy.actor("dummy.reech", 1, agent.ActConfig())
  with pytest.raises(GatoError, match="no checkpoint in .*experiments.train"):
    agent.Policy(tmp_path)
  (small_workdir / "demonstrations" / "dummy.reach.npz").rename(tmp_path / "away.npz")
  with pytest.raises(GatoError, match="no demonstration in .*prompt=none"):
    policy.actor("dummy.reach", 1, agent.ActConfig())
  (tmp_path / "away.npz").rename(small_workdir / "demonstrations" / "dummy.reach.npz")


def test_an_action_outside_its_bounds_is_refused():
  class TooFar:
    def reset(self, slot, seed):
      pass

    def act(self, timesteps):
      return {slot: np.float32([0.0, 0.2]) for slot in timesteps}

  with pytest.raises(GatoError, match="seed 3, step 0: action .* is outside its bounds"):
    list(environment_loop.run_episodes([DOMAIN.make_environment("reach")], TooFar(), [3]))


def test_acting_needs_no_tensorflow():
  import subprocess
  import sys

  code = "import sys, gato_jax.agent, gato_jax.evaluate; sys.exit('tensorflow' in sys.modules)"
  assert subprocess.run([sys.executable, "-c", code]).returncode == 0
