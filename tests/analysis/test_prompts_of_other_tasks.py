"""Prompts that show another task: a layout of their own and any size.

The actions behind them are those of the full forward pass.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_network
from dm_env import specs as dm_specs

from gato_jax.agent import ActConfig, Engine, prompts
from gato_jax.env.results import Row, append
from gato_jax.errors import GatoError
from gato_jax.evaluate import EvaluateConfig, evaluation
from gato_jax.model import cache, transformer
from gato_jax.model.attention import WindowMask, distance_table
from gato_jax.model.embedding import Embedding
from gato_jax.task import TaskSpec
from gato_jax.tokens import codec, layout
from gato_jax.tokens.vocabulary import Kind

CONFIG = small_network.SMALL
SPECS = (
  TaskSpec(
    "a.arm",
    {"state": dm_specs.Array((5,), np.float32)},
    dm_specs.BoundedArray((3,), np.float32, -1, 1),
  ),
  TaskSpec(
    "a.leg",
    {"state": dm_specs.Array((11,), np.float32)},
    dm_specs.BoundedArray((4,), np.float32, -1, 1),
  ),
  TaskSpec(
    "b.grid",
    {
      "picture": dm_specs.BoundedArray((32, 48, 3), np.uint8, 0, 255),
      "mission": dm_specs.StringArray(()),
    },
    dm_specs.DiscreteArray(7, np.int64),
    {"mission": 12},
  ),
)
LAYOUTS = {spec.name: layout.TokenLayout(spec, codec.default_text_codec()) for spec in SPECS}
STEPS = 4


def episode(task: str, seed: int, length: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
  """Random observations and actions of one episode."""
  random, one = np.random.default_rng(seed), LAYOUTS[task]
  observation = {}

  for key, spec in one.spec.observation.items():
    if isinstance(spec, dm_specs.StringArray):
      observation[key] = np.array(["go to the red ball"] * length)
    elif spec.dtype == np.uint8:
      observation[key] = random.integers(0, 256, [length, *spec.shape], np.uint8)
    else:
      observation[key] = random.normal(size=[length, *spec.shape]).astype(spec.dtype)

  shape = [length, *one.action.spec.shape]
  is_discrete = one.action.kind == Kind.DISCRETE
  return observation, random.integers(0, 7, shape) if is_discrete else random.uniform(
    -1, 1, shape
  ).astype(np.float32)


def most_likely(params, parts: list[tuple[layout.TokenLayout, layout.Steps]]) -> np.ndarray:
  """Most likely action tokens [n, A] of the last task, by one full forward pass.

  Encoded steps of several tasks are read as one row.
  """
  join = {
    name: np.concatenate([getattr(s, name).ravel() for _, s in parts])
    for name in ("tokens", "kinds", "locals")
  }
  is_patch = join["kinds"] == Kind.PATCH
  places = [np.tile(one.patch_positions, (len(steps.tokens), 1)) for one, steps in parts]
  chunk = {name: value[None] for name, value in join.items()} | {
    "patches": np.concatenate([steps.patches.reshape(-1, 16, 16, 3) for _, steps in parts])[None],
    "patch_positions": np.concatenate(places).astype(np.int32)[None],
    "patch_slots": np.where(is_patch, np.cumsum(is_patch) - 1, 0)[None],
  }
  length = len(is_patch)

  assert length < CONFIG.memory_length

  past = np.tril(np.ones([length, length], bool)) & (join["kinds"] != Kind.PADDING) | np.eye(
    length, dtype=bool
  )
  x = Embedding(CONFIG).apply({"params": params["embedding"]}, jax.tree.map(jnp.asarray, chunk))
  attendance = WindowMask(past[None], distance_table(length - 1, CONFIG.width))
  hidden = transformer.Decoder(CONFIG).apply({"params": params["decoder"]}, x, attendance)
  scores = np.array(hidden[0] @ params["embedding"]["tokens"].T)
  one, steps = parts[-1]
  low, high = one.legal_actions()
  at = np.arange(length - steps.tokens.size, length).reshape(steps.tokens.shape)[
    :, one.action.slice
  ]
  rows = [
    [a + np.argmax(scores[i - 1, a : b + 1]) for i, a, b in zip(row, low, high, strict=True)]
    for row in at
  ]
  return np.array(rows)


@pytest.mark.slow  # a network of its own; tests/agent/test_engine.py has the engine's
def test_actions_behind_the_prompt_are_those_of_the_full_forward_pass():
  """Each task plays behind the demonstration of another.

  Two of them share a shape and so the padding of their prompts.
  """
  params = small_network.random_params()
  config = ActConfig(temperature=0.0, prompt="start")
  shown = {"a.arm": "a.leg", "a.leg": "b.grid", "b.grid": "a.arm"}
  given = {
    played: prompts.Prompts(LAYOUTS[task], [episode(task, 10, 9), episode(task, 11, 9)], 70, config)
    for played, task in shown.items()
  }
  engine = Engine(CONFIG, cache.acting_params(CONFIG, params), LAYOUTS, given, 1, config)

  assert ("a.arm", "a.leg") in [shape.tasks for shape in engine.buckets]

  for played in shown:
    engine.start(0, played, 7)
    observation, _ = episode(played, 5, STEPS)
    steps = [{key: column[i] for key, column in observation.items()} for i in range(STEPS)]
    actions = [engine.act({0: engine.pack(played, one)})[0] for one in steps]
    encoded = LAYOUTS[played].encode(observation, np.stack(actions))
    prompt = given[played].choose(7)

    assert len(prompt.tokens) > 1

    expected = most_likely(params, [(LAYOUTS[shown[played]], prompt), (LAYOUTS[played], encoded)])

    np.testing.assert_array_equal(
      encoded.tokens[:, LAYOUTS[played].action.slice], expected, err_msg=played
    )


def test_rows_from_before_the_setting_existed_were_played_with_its_default(tmp_path):
  append(tmp_path / "results.jsonl", [Row("dummy.reach", "gato", 0, 1.0, 10, None, 1.0, 5)])
  (tmp_path / "act.json").write_text(json.dumps({"temperature": 1.0, "prompt": "start"}))
  run = evaluation.Evaluation([], tmp_path, EvaluateConfig(), simulators=None)

  with pytest.raises(
    GatoError, match="act.prompt_task '', not 'dummy.reach'; give other settings a folder"
  ):
    run.check_settings(ActConfig(prompt_task="dummy.reach"))

  run.check_settings(ActConfig())

  assert json.loads((tmp_path / "act.json").read_text())["prompt_task"] == ""
