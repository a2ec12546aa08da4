"""The policy of a checkpoint: prompts, legal actions, wrong specs."""

import numpy as np
import pytest
import small_network

import rlds_builders
from gato_jax import agent, demonstrations, environment_loop, specs
from gato_jax.agent import prompts
from gato_jax.errors import GatoError

DOMAIN = rlds_builders.get("dummy")
CONFIG = small_network.SMALL


@pytest.fixture(scope="module")
def policy(small_workdir):
  return agent.Policy(small_workdir)


def test_a_checkpoint_alone_makes_an_actor(policy):
  assert policy.step == 5 and policy.tasks == ["dummy.reach", "dummy.reach_discrete"]
  assert policy.text.decode(policy.text.encode("go to the red square")) == "go to the red square"


def test_actions_do_not_depend_on_who_else_is_in_the_batch(policy):
  config = agent.ActConfig(temperature=1.0)

  def play(seeds, slots):
    environments = [DOMAIN.make_environment("reach") for _ in range(slots)]
    episodes = environment_loop.run_episodes(environments, policy.actor("dummy.reach", slots, config), seeds)
    return {e.seed: round(e.episode_return, 3) for e in episodes}

  together = play([11, 12, 13, 14, 15], 3)
  assert together[14] == play([14], 1)[14] and together[11] == play([11], 1)[11]
  assert len(set(together.values())) == 5


def first_action(policy, seed=2, **act):
  environment = DOMAIN.make_environment("reach")
  environment.seed(seed)
  actor = policy.actor("dummy.reach", 1, agent.ActConfig(temperature=0.0, **act))
  actor.reset(0, seed)
  return actor.act({0: environment.reset()})[0]


def test_each_prompt_is_read_and_changes_what_is_done(policy):
  actions = {prompt: tuple(first_action(policy, prompt=prompt)) for prompt in ("start", "end", "uniform", "none")}
  actions["another task's"] = tuple(first_action(policy, prompt="end", prompt_task="dummy.reach_discrete"))
  assert len(set(actions.values())) == 5, actions


def test_a_prompt_of_another_task_that_cannot_be_shown_is_refused(policy, small_workdir, tmp_path):
  with pytest.raises(GatoError, match="prompt_task 'a.b' is never shown with prompt 'none'"):
    agent.ActConfig(prompt="none", prompt_task="a.b")
  with pytest.raises(GatoError, match="did you mean 'dummy.reach_discrete'"):
    first_action(policy, prompt_task="dummy.reach_discreet")
  with pytest.raises(GatoError, match=r"act.prompt_task=dummy.reach_discrete takes 2\d tokens, a prompt has 12 .*0.05"):
    first_action(policy, prompt_task="dummy.reach_discrete", prompt_share=0.05)
  path = small_workdir / "demonstrations" / "dummy.reach_discrete.npz"
  path.rename(tmp_path / "away.npz")
  with pytest.raises(GatoError, match="no demonstration in .*reach_discrete"):
    first_action(policy, prompt_task="dummy.reach_discrete")
  (tmp_path / "away.npz").rename(path)


def test_prompts_are_the_pieces_they_are_called(policy):
  one = policy.layout("dummy.reach")
  demonstrations_ = demonstrations.read(policy.workdir, "dummy.reach")
  room = 4 * one.length
  lengths = [len(action) for _, action in demonstrations_]
  assert min(lengths) > 4

  def chosen(where, seed):
    prompt = prompts.Prompts(one, demonstrations_, room, agent.ActConfig(prompt=where))
    assert prompt.steps == 4
    return prompt.choose(seed).tokens[:, one.action.slice]

  for seed in (0, 1):
    encoded = one.encode(*demonstrations_[seed]).tokens[:, one.action.slice]
    np.testing.assert_array_equal(chosen("start", seed), encoded[:4])
    np.testing.assert_array_equal(chosen("end", seed), encoded[-4:])
  pieces = {chosen("uniform", 2 * seed).tobytes() for seed in range(30)}
  whole = one.encode(*demonstrations_[0]).tokens[:, one.action.slice]
  every = {whole[i : i + 4].tobytes() for i in range(len(whole) - 3)}
  assert pieces <= every and len(pieces) > len(every) / 2
  np.testing.assert_array_equal(chosen("uniform", 7), chosen("uniform", 7))


def test_episodes_longer_than_the_memory_go_on(policy):
  """40 steps of 25 tokens through a memory of 256: four wraps, finite actions within their bounds."""
  environment = DOMAIN.make_environment("reach_discrete")
  actor = policy.actor("dummy.reach_discrete", 1, agent.ActConfig())
  (episode,) = environment_loop.run_episodes([environment], actor, [1])
  assert episode.length * policy.layout("dummy.reach_discrete").length > 3 * CONFIG.memory_length


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
