"""The acting engine: its tokens are the layout's, its actions those of the full forward pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_network
from engine_cases import CONFIG, LAYOUTS, SPECS, WINDOW, executed, make_engine, most_likely, observe

from gato_jax.agent import buckets, step
from gato_jax.errors import GatoError
from gato_jax.model import Gato, cache
from gato_jax.tokens import codec, packing
from gato_jax.tokens.vocabulary import Kind


@pytest.fixture(scope="module")
def params():
  return small_network.random_params()  # large: decided, not near uniform


@pytest.fixture(scope="module")
def acting_params(params):
  return cache.acting_params(CONFIG, params)


@pytest.mark.parametrize("task", SPECS)
def test_tokens_on_the_device_are_those_of_the_layout(task):
  """Covers every modality, padding to other tasks' sizes, values at bin edges and subnormals."""
  one = LAYOUTS[task]
  (shape,) = [shape for shape in buckets.group(LAYOUTS) if task in shape.tasks]
  table = {
    k: v[[shape.tasks.index(task)]]
    for k, v in buckets.tables(shape, LAYOUTS).items()
    if k != "centres"
  }
  tokenise = jax.jit(step.tokenise)
  edges = np.concatenate(
    [codec.mu_law_bins().edges, codec.linear_bins().edges, np.float32([0, -0.0, 1e-45, -1e-40])]
  )
  nearby = np.concatenate(
    [edges, np.nextafter(edges, np.float32(9)), np.nextafter(edges, np.float32(-9))]
  )

  for number in range(20):
    observation = observe(task, number, 0)
    for key, spec in SPECS[task].observation.items():
      if np.issubdtype(getattr(spec, "dtype", object), np.floating):
        observation[key] = (
          np.random.default_rng(number).choice(nearby, spec.shape).astype(np.float32)
        )

    packed = packing.pack(one, observation)
    values, ids = np.zeros([1, shape.tokens], np.float32), np.zeros([1, shape.tokens], np.int32)
    lines = np.zeros([1, 16 * shape.patches, packing.LINE], np.uint8)
    n = one.observation_length
    values[0, :n], ids[0, :n], lines[0, : len(packed.lines)] = (
      packed.values,
      packed.ids,
      packed.lines,
    )
    chunk = jax.device_get(tokenise(table, np.int32([-1]), values, ids, lines))
    expected = one.encode(
      {key: np.asarray(value)[None] for key, value in observation.items()}, None
    )

    for name in ("tokens", "kinds", "locals"):
      np.testing.assert_array_equal(
        chunk[name][0, 1 : n + 2], getattr(expected, name)[0], err_msg=name
      )

    np.testing.assert_array_equal(chunk["patches"][0, : one.patch_count], expected.patches[0])
    np.testing.assert_array_equal(
      chunk["patch_positions"][0, : one.patch_count], one.patch_positions
    )
    assert not chunk["kinds"][0, n + 2 :].any()


def test_actions_are_those_of_the_full_forward_pass_however_tasks_join_and_leave(
  params, acting_params
):
  """Five tasks share four slots.

  Each acts on its own steps only, and episodes end and begin at any time.
  """
  engine = make_engine(acting_params, 4)

  assert sorted(len(shape.tasks) for shape in engine.buckets) == [1, 1, 3]

  random = np.random.default_rng(0)
  tasks = list(SPECS)
  done: list[tuple[str, list, list]] = []
  episodes: dict[int, tuple[str, int, list, list]] = {}

  for number in range(160):
    for slot in range(4):
      if slot not in episodes or random.random() < 0.06:
        if slot in episodes:
          done.append((episodes[slot][0], *episodes[slot][2:]))
        episodes[slot] = (tasks[int(random.integers(len(tasks)))], number, [], [])
        engine.start(slot, *episodes[slot][:2])

    asked = [slot for slot in range(4) if random.random() < 0.6]
    packed = {}

    for slot in asked:
      task, seed, observations, _ = episodes[slot]
      observations.append(observe(task, seed, len(observations)))
      packed[slot] = engine.pack(task, observations[-1])

    for slot, action in engine.act(packed).items():
      episodes[slot][3].append(action)

  done += [(task, observations, actions) for task, _, observations, actions in episodes.values()]
  done = [one for one in done if one[2]]

  assert {task for task, *_ in done} == set(tasks)
  assert (
    max(len(actions) * LAYOUTS[task].length for task, _, actions in done) > 2 * WINDOW
  )  # the memory wrapped

  wrong = total = 0

  for task, observations, actions in done:
    expected = most_likely(params, task, observations, actions)
    wrong += (executed(task, actions) != expected).sum()
    total += expected.size

  assert total > 300 and wrong == 0


@pytest.mark.slow  # compiles nine programs
def test_nothing_compiles_after_compile(acting_params):
  engine = make_engine(acting_params, 5)
  said = []
  engine.compile(said.append)

  assert len(said) == len(engine.buckets) * len(engine.batch_sizes) and engine.batch_sizes == [
    1,
    4,
    5,
  ]

  compiled = []
  jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **kw: compiled.append(event) if "backend_compile" in event else None
  )

  for number, (slot, task) in enumerate(
    [(0, "a.arm"), (1, "a.leg"), (2, "b.grid"), (3, "a.keys"), (4, "b.game")] * 2
  ):
    engine.start(slot, task, number)
    engine.act({s: engine.pack(t, observe(t, 0, 0)) for s, t in [(slot, task)]})

  everyone = {
    s: engine.pack(t, observe(t, 1, 1))
    for s, t in enumerate(["a.arm", "a.leg", "b.grid", "a.keys", "b.game"])
  }
  engine.act(everyone)

  assert not compiled

  jax.jit(lambda x: x + len(said))(jnp.ones(3))

  assert compiled  # the listener does hear


def test_samples_do_not_depend_on_the_company(acting_params):
  """The same seed and step draw the same action alone, in a batch, and beside other tasks."""

  def act(engine, slots):
    for slot, (task, seed) in slots.items():
      engine.start(slot, task, seed)
    for number in range(3):
      packed = {
        slot: engine.pack(task, observe(task, seed, number)) for slot, (task, seed) in slots.items()
      }
      actions = engine.act(packed)

    return {(task, seed): actions[slot] for slot, (task, seed) in slots.items()}

  def alone(seed):
    engine = make_engine(acting_params, 1, ["a.keys"], temperature=1.0)
    return act(engine, {0: ("a.keys", seed)})["a.keys", seed]

  together = act(
    make_engine(acting_params, 3, temperature=1.0),
    {0: ("a.arm", 7), 1: ("a.keys", 8), 2: ("a.keys", 7)},
  )

  np.testing.assert_array_equal(alone(7), together["a.keys", 7])
  assert len({tuple(alone(seed)) for seed in range(4)}) == 4


def test_sampled_actions_are_legal_and_follow_the_probabilities(params, acting_params):
  """Draws 2,000 first actions of one observation at each of two temperatures.

  The frequencies of their first token are compared with the softmax.
  """
  task, n = "a.keys", 2000
  spec = SPECS[task].action
  observation = observe(task, 1, 0)

  for temperature in (5.0, 20.0):
    engine = make_engine(acting_params, 100, [task], temperature=temperature)
    counts = np.zeros(6)  # the first of its four numbers is 0 to 5
    packed = engine.pack(task, observation)

    for first in range(0, n, 100):
      for slot in range(100):
        engine.start(slot, task, first + slot)
      for action in engine.act(dict.fromkeys(range(100), packed)).values():
        assert (spec.minimum <= action).all() and (action <= spec.maximum).all()
        counts[action[0]] += 1

    one = LAYOUTS[task]
    steps = one.encode({k: np.asarray(v)[None] for k, v in observation.items()}, None)
    chunk = {name: getattr(steps, name) for name in ("tokens", "kinds", "locals", "patches")}
    chunk |= {
      "segments": np.where(steps.kinds == Kind.PADDING, 0, 1),
      "patch_positions": one.patch_positions[None],
      "patch_slots": np.where(
        steps.kinds == Kind.PATCH, np.cumsum(steps.kinds == Kind.PATCH, axis=1) - 1, 0
      ),
    }
    hidden = jax.jit(Gato(CONFIG).apply)({"params": params}, chunk)[0, -1]
    probability = np.asarray(
      jax.nn.softmax((params["embedding"]["tokens"][:6] @ hidden) / temperature)
    )

    assert probability.max() < 0.9
    np.testing.assert_allclose(counts / n, probability, atol=4 * np.sqrt(0.25 / n))


def test_the_memory_starts_anew_every_so_many_steps(acting_params):
  """With memory_steps=1 an action depends on its observation only."""
  engine = make_engine(acting_params, 1, ["a.arm"], memory_steps=1)
  engine.start(0, "a.arm", 0)
  (first, *_, again) = [
    engine.act({0: engine.pack("a.arm", observe("a.arm", 0, number))})[0] for number in (0, 1, 2, 0)
  ]

  np.testing.assert_array_equal(first, again)

  remembering = make_engine(acting_params, 1, ["a.arm"])
  remembering.start(0, "a.arm", 0)
  actions = [
    remembering.act({0: engine.pack("a.arm", observe("a.arm", 0, n))})[0] for n in (0, 1, 2, 0)
  ]

  np.testing.assert_array_equal(actions[0], first)
  assert not np.array_equal(actions[3], first)


@pytest.mark.parametrize(
  ("task", "change", "message"),
  [
    ("a.arm", {"state": np.float32([1, 2, np.nan, 4, 5])}, r"a\.arm: 'state': nan at index \[2\]"),
    ("a.arm", {"state": np.float64([1, 2, 1e300, 4, 5])}, r"a\.arm: 'state': inf at index \[2\]"),
    (
      "a.arm",
      {"state": np.zeros(4, np.float32)},
      r"a\.arm: 'state' has shape \[4\], the spec says \[5\]",
    ),
    ("a.arm", {"state": np.array(["1"] * 5)}, r"'state' has dtype <U1, the spec wants numbers"),
    ("a.arm", {"state": None}, r"no field 'state'"),
    ("a.arm", {"speed": np.zeros(3)}, r"a field 'speed', the spec only"),
    ("b.grid", {"cell": np.array([0, 1024])}, r"'cell'.*\[0, 1024\), got 0 to 1024"),
    ("b.grid", {"cell": np.array([0.5, 1])}, r"'cell' has dtype float64, the spec wants integers"),
    (
      "b.grid",
      {"picture": np.zeros([32, 48, 3], np.int32)},
      r"'picture' has dtype int32, the spec wants uint8",
    ),
    ("b.grid", {"mission": np.array(["go", "on"])}, r"'mission' is not one text"),
    ("b.grid", {"mission": 3}, r"'mission' is not one text: 3"),
    ("b.grid", {"mission": "key " * 13}, r"'mission' takes 14 tokens, max_text_tokens allows 12"),
  ],
)
def test_a_bad_observation_is_named(acting_params, task, change, message):
  observation = {**observe(task, 0, 0), **change}
  observation = {key: value for key, value in observation.items() if value is not None}
  with pytest.raises(GatoError, match=message):
    packing.pack(LAYOUTS[task], observation)


def test_misuse_is_named_and_changes_nothing(acting_params):
  engine = make_engine(acting_params, 2, ["a.arm", "a.leg"])
  packed = engine.pack("a.arm", observe("a.arm", 0, 0))
  engine.start(0, "a.arm", 0)

  with pytest.raises(
    GatoError, match="slot 1 has no episode, the observation is of a.arm; call start"
  ):
    engine.act({0: packed, 1: packed})

  engine.start(1, "a.leg", 0)

  with pytest.raises(
    GatoError, match="slot 1 has an episode of a.leg, the observation is of a.arm"
  ):
    engine.act({0: packed, 1: packed})

  with pytest.raises(GatoError, match="slot 2 does not exist: there are 2"):
    engine.start(2, "a.arm", 0)
  with pytest.raises(GatoError, match="unknown task: 'a.amr'; did you mean 'a.arm'"):
    engine.start(0, "a.amr", 0)
  assert engine._episodes[0].steps == 0
  assert engine.act({0: packed})[0].shape == (3,)


@pytest.mark.slow
def test_ten_thousand_steps_take_no_more_memory_and_compile_nothing(acting_params):
  import resource

  engine = make_engine(acting_params, 1, ["a.arm"], temperature=1.0)
  engine.compile()
  engine.start(0, "a.arm", 0)
  packed = [engine.pack("a.arm", observe("a.arm", 0, number)) for number in range(50)]
  live = []

  for number in range(10_000):
    engine.act({0: packed[number % 50]})
    if number % 1000 == 500:
      live.append((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, len(jax.live_arrays())))

  assert len({arrays for _, arrays in live}) == 1
  assert live[-1][0] - live[1][0] < 2000  # KiB


def test_an_action_depends_on_the_steps_of_its_history(acting_params):
  """With history_steps=2 the step before the last changes nothing, the last one does."""
  # One layer could not tell: with two, hidden states of the last step know of the one before it.
  task = "a.arm"

  def last_action(numbers, **act):
    engine = make_engine(acting_params, 1, [task], **act)
    engine.start(0, task, 0)
    for number in numbers:
      action = engine.act({0: engine.pack(task, observe(task, 0, number))})[0]
    return action

  one = last_action([0, 1, 2], history_steps=1)

  np.testing.assert_array_equal(one, last_action([5, 6, 2], history_steps=1))
  np.testing.assert_array_equal(one, last_action([0, 1, 2], memory_steps=1))

  two = last_action([0, 1, 2], history_steps=2)

  assert not np.array_equal(two, last_action([0, 6, 2], history_steps=2))
  assert not np.array_equal(two, one)
  np.testing.assert_array_equal(last_action([0, 1, 2], history_steps=9), last_action([0, 1, 2]))


def test_a_history_that_skips_steps_is_that_of_every_other_step(acting_params):
  """With a stride of 2, even and odd steps are two episodes that know nothing of each other."""
  task = "a.arm"

  def actions(seeds, numbers, stride=1, **act):
    engine = make_engine(acting_params, len(seeds), [task], stride=stride, **act)
    for slot, seed in enumerate(seeds):
      engine.start(slot, task, seed)

    taken = []
    for number in numbers:
      observations = {
        slot: engine.pack(task, observe(task, seed, number)) for slot, seed in enumerate(seeds)
      }
      taken.append(np.stack(list(engine.act(observations).values())))
    return np.stack(taken)

  # A batch of all slots, and one of a single slot.
  for seeds in ((3, 4), (3,)):
    strided = actions(seeds, range(8), stride=2)

    np.testing.assert_array_equal(strided[0::2], actions(seeds, range(0, 8, 2)))
    np.testing.assert_array_equal(strided[1::2], actions(seeds, range(1, 8, 2)))
    assert not np.array_equal(strided, actions(seeds, range(8)))

  # The KV caches of both turns are emptied.
  emptied = actions((3,), range(8), stride=2, memory_steps=4)
  np.testing.assert_array_equal(emptied[4:], actions((3,), range(4, 8), stride=2))


def test_an_episode_in_a_used_slot_knows_nothing_of_the_one_before(acting_params):
  task = "a.arm"
  engine = make_engine(acting_params, 1, [task], stride=3)

  def play(numbers):
    engine.start(0, task, 0)
    return [engine.act({0: engine.pack(task, observe(task, 0, n))})[0] for n in numbers]

  fresh = play(range(5))
  play(range(5, 12))
  np.testing.assert_array_equal(play(range(5)), fresh)
