"""The policy of a checkpoint: prompts, legal actions, wrong specs."""

import numpy as np
import pytest
import small_network

import rlds_builders
from gato_jax import agent
from gato_jax.agent import prompts
from gato_jax.data import demonstrations
from gato_jax.env import loop
from gato_jax.errors import GatoError
from gato_jax.task import TaskSpec, flatten

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
    episodes = loop.run_episodes(environments, policy.actor("dummy.reach", slots, config), seeds)
    return {e.seed: round(e.episode_return, 3) for e in episodes}

  together = play([11, 12, 13, 14, 15], 3)

  assert together[14] == play([14], 1)[14] and together[11] == play([11], 1)[11]
  assert len(set(together.values())) == 5


def first_action(policy, seeds=(2,), **act):
  """First actions [seeds][2] of the policy in one episode of each seed."""
  environment = DOMAIN.make_environment("reach")
  actor = policy.actor("dummy.reach", 1, agent.ActConfig(temperature=0.0, **act))
  actions = []

  for seed in seeds:
    environment.seed(seed)
    actor.reset(0, seed)
    actions.append(actor.act({0: environment.reset()})[0].tolist())

  return actions


def test_each_prompt_is_read_and_changes_what_is_done(policy):
  seeds = range(8)
  actions = {
    prompt: first_action(policy, seeds, prompt=prompt)
    for prompt in ("start", "end", "uniform", "none")
  }
  actions["another task's"] = first_action(
    policy, seeds, prompt="end", prompt_task="dummy.reach_discrete"
  )

  assert len({str(one) for one in actions.values()}) == 5, actions


@pytest.mark.parametrize("name", ["temperature", "memory_steps", "history_steps", "chunk_steps"])
def test_negative_settings_of_acting_are_refused(name):
  with pytest.raises(GatoError, match=f"act config: .*{name} -1"):
    agent.ActConfig(**{name: -1})


def test_a_prompt_of_another_task_that_cannot_be_shown_is_refused(policy, small_workdir, tmp_path):
  with pytest.raises(GatoError, match="prompt_task 'a.b' is never shown with prompt 'none'"):
    agent.ActConfig(prompt="none", prompt_task="a.b")
  with pytest.raises(GatoError, match="did you mean 'dummy.reach_discrete'"):
    first_action(policy, prompt_task="dummy.reach_discreet")

  with pytest.raises(
    GatoError,
    match=r"act.prompt_task=dummy.reach_discrete takes 2\d tokens, a prompt has 12 .*0.05",
  ):
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

  encoded = [one.encode(*shown).tokens[:, one.action.slice] for shown in demonstrations_]

  for where, pieces in (("start", [e[:4] for e in encoded]), ("end", [e[-4:] for e in encoded])):
    assert {chosen(where, seed).tobytes() for seed in range(30)} == {
      piece.tobytes() for piece in pieces
    }

  pieces = {chosen("uniform", seed).tobytes() for seed in range(60)}
  every = {e[i : i + 4].tobytes() for e in encoded for i in range(len(e) - 3)}

  assert pieces <= every and len(pieces) > len(every) / 2
  np.testing.assert_array_equal(chosen("uniform", 7), chosen("uniform", 7))


def test_each_prompt_takes_what_fits_of_its_own_episode(policy):
  one = policy.layout("dummy.reach")
  observation, action = demonstrations.read(policy.workdir, "dummy.reach")[0]
  short = {key: column[:1] for key, column in observation.items()}, action[:1]
  shown = prompts.Prompts(
    one, [(observation, action), short], 4 * one.length, agent.ActConfig(prompt="end")
  )

  assert shown.steps == 4
  assert {len(shown.choose(seed).tokens) for seed in range(20)} == {1, 4}


def test_two_tasks_that_look_alike_do_not_act_alike(policy):
  """The noise of a sampled action is keyed by task, seed and step."""
  task, actions = "dummy.reach", []
  engine = policy.engine([task], 1, agent.ActConfig(temperature=1.0, prompt="none"))
  environment = DOMAIN.make_environment("reach")
  environment.seed(3)
  packed = engine.pack(task, flatten(environment.reset().observation))

  for seed, name in ((3, task), (3, task), (4, task), (3, "dummy.another")):
    engine.start(0, task, seed)
    engine._episodes[0].task = name
    noise = engine._episodes[0].noise
    engine._episodes[0].task = task
    actions.append((noise, engine.act({0: packed})[0].tolist()))

  assert actions[0] == actions[1] and len({str(one) for one in actions}) == 3


def test_engines_of_the_same_sizes_share_their_programs(policy):
  configs = (agent.ActConfig(temperature=temperature, prompt="none") for temperature in (0.0, 1.0))
  one, other = (policy.engine(["dummy.reach"], 1, config) for config in configs)
  programs = (engine._step(engine.buckets[0], 1).runtime_executable() for engine in (one, other))

  assert next(programs) is next(programs)


def test_episodes_longer_than_the_memory_go_on(policy):
  """Plays 40 steps of 25 tokens with a memory of 256: it wraps four times.

  All actions stay finite and within their bounds.
  """
  environment = DOMAIN.make_environment("reach_discrete")
  actor = policy.actor("dummy.reach_discrete", 1, agent.ActConfig())
  (episode,) = loop.run_episodes([environment], actor, [1])

  assert episode.length * policy.layout("dummy.reach_discrete").length > 3 * CONFIG.memory_length


def test_an_environment_of_another_spec_is_refused_by_field(policy):
  spec = policy.spec("dummy.reach")
  changed = TaskSpec.from_json(spec.to_json() | {"max_text_tokens": {"instruction": 13}})

  with pytest.raises(
    GatoError, match="trained on another spec .max_text_tokens 'instruction': 12 against 13"
  ):
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
    list(loop.run_episodes([DOMAIN.make_environment("reach")], TooFar(), [3]))


def test_acting_needs_no_tensorflow():
  import subprocess
  import sys

  code = "import sys, gato_jax.agent, gato_jax.evaluate; sys.exit('tensorflow' in sys.modules)"
  assert subprocess.run([sys.executable, "-c", code]).returncode == 0
