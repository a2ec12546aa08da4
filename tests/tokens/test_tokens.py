"""Tokens: bin edges exact in three libraries, a layout written out by hand, round trips.

Also the values that are refused.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
from dm_env import specs as dm_specs

from gato_jax.errors import GatoError
from gato_jax.task import TaskSpec, spec_difference
from gato_jax.tokens import codec, layout, patches, vocabulary
from gato_jax.tokens.vocabulary import Kind

TEXT = codec.default_text_codec()


def hard_values(bins: codec.Bins) -> np.ndarray:
  """Every edge, its float32 neighbours, extremes, and a wide random sample."""
  random = np.random.default_rng(0)
  spread = random.standard_normal(200_000) * np.exp(random.uniform(-12, 8, 200_000))
  edges = bins.edges
  extremes = np.float32([0.0, -0.0, 1.0, -1.0, 256.0, -256.0, 1e30, -1e30, 1e-38, -1e-38])
  return np.concatenate(
    [
      edges,
      np.nextafter(edges, np.float32(-np.inf)),
      np.nextafter(edges, np.float32(np.inf)),
      extremes,
      spread,
    ]
  ).astype(np.float32)


@pytest.mark.parametrize(
  "bins", [codec.mu_law_bins(), codec.linear_bins(), codec.linear_bins(-0.1, 2.5)]
)
def test_bins_agree_bit_for_bit_in_numpy_tensorflow_and_jax(bins):
  values = hard_values(bins)
  ours = bins.encode(values)
  np.testing.assert_array_equal(ours, bins.encode(tf.constant(values), tf).numpy())
  np.testing.assert_array_equal(ours, jax.jit(lambda v: bins.encode(v, jnp))(values))
  assert ours.min() == 0 and ours.max() == 1023


def test_edges_are_the_papers_formula_in_exact_arithmetic():
  """floor((F(x) + 1) * 512) in float64, away from the borders where float64 itself rounds."""
  x = hard_values(codec.mu_law_bins()).astype(np.float64)
  f = np.sign(x) * np.log(np.abs(x) * 100 + 1) / np.log(256 * 100 + 1)
  scaled = (np.clip(f, -1, 1) + 1) * 512
  clear = (np.abs(scaled - np.rint(scaled)) > 1e-9) & (np.abs(x) > 1e-37)
  expected = np.clip(np.floor(scaled), 0, 1023).astype(int)

  np.testing.assert_array_equal(
    codec.mu_law_bins().encode(x.astype(np.float32))[clear], expected[clear]
  )
  assert clear.sum() > 100_000


def test_the_top_bin_does_not_overflow():
  assert codec.linear_bins().encode(np.float32([-1, 1])).tolist() == [0, 1023]
  assert codec.mu_law_bins().encode(np.float32([-256, 0, 256])).tolist() == [0, 512, 1023]


def golden_spec() -> TaskSpec:
  return TaskSpec(
    name="golden.task",
    observation={
      "b/scalar": dm_specs.Array((), np.float32),
      "a/count": dm_specs.BoundedArray((2,), np.int32, 0, 9),
      "z/eye": dm_specs.BoundedArray((16, 32, 3), np.uint8, 0, 255),
      "words": dm_specs.StringArray(()),
      "c/unit": dm_specs.BoundedArray((2,), np.float32, -1, 1),
    },
    action=dm_specs.BoundedArray((2,), np.float32, [-2, 0], [2, 1]),
    max_text_tokens={"words": 4},
  )


def test_golden_timestep_written_out_by_hand():
  text = layout.TokenLayout(golden_spec(), TEXT)
  image = np.zeros([1, 16, 32, 3], np.uint8)
  image[0, :, 16:] = 7
  observation = {
    "b/scalar": np.float32([0.0]),
    "a/count": np.int32([[3, 9]]),
    "z/eye": image,
    "words": np.array(["go"]),
    "c/unit": np.float32([[-1.0, 0.5]]),
  }
  steps = text.encode(observation, np.float32([[2.0, 0.25]]))
  (go,) = TEXT.encode("go")

  # text padded to four; two patches; a/count; b/scalar at mu-law's centre; c/unit linear; "|";
  # action in its bounds
  assert steps.tokens.tolist() == [
    [go, 0, 0, 0, 0, 0, 3, 9, 32512, 32000, 32768, 33024, 33023, 32256],
  ]

  t, p, _, d, c = Kind.TEXT, Kind.PATCH, Kind.PADDING, Kind.DISCRETE, Kind.CONTINUOUS
  o = Kind.PADDING

  assert steps.kinds.tolist() == [
    [t, o, o, o, p, p, d, d, c, c, c, Kind.SEPARATOR, Kind.ACTION, Kind.ACTION]
  ]
  assert steps.locals.tolist() == [[0, -1, -1, -1, 4, 5, 6, 7, 8, 9, 10, -1, -1, -1]]
  assert steps.targets.tolist() == [[True] + [False] * 11 + [True, True]]
  assert steps.patches[0, 0].max() == 0 and steps.patches[0, 1].min() == 7
  assert text.patch_positions.tolist() == [[0, 128, 0, 64], [0, 128, 64, 128]]
  assert text.legal_actions()[0].tolist() == [32000, 32000] and text.legal_actions()[
    1
  ].tolist() == [33023, 33023]

  described = text.describe()

  assert (
    "14 tokens a step, 2 of them patches" in described
    and "mu-law" in described
    and "linear" in described
  )


def test_action_round_trip_is_within_half_a_bin_and_inside_the_bounds():
  text = layout.TokenLayout(golden_spec(), TEXT)
  random = np.random.default_rng(0)
  low, high = np.float32([-2, 0]), np.float32([2, 1])
  actions = np.concatenate([[low, high], random.uniform(low, high, [2000, 2])]).astype(np.float32)
  observation = {
    k: np.zeros([len(actions), *v.shape], v.dtype) for k, v in golden_spec().observation.items()
  }
  observation["words"] = np.array(["go"] * len(actions))
  tokens = text.encode(observation, actions).tokens[:, text.action.slice]
  bins = tokens - vocabulary.CONTINUOUS_OFFSET
  decoded = np.stack([b.centres[bins[:, d]] for d, b in enumerate(text.action.bins)], axis=1)

  assert np.all(np.abs(decoded - actions) <= (high - low) / 1024 / 2 * 1.0001)
  assert np.all((decoded >= low) & (decoded <= high))


def test_patches_lie_in_raster_order():
  image = np.random.default_rng(0).integers(0, 256, [2, 32, 48, 3], np.uint8)
  cut = patches.to_patches(image)
  for i in range(6):
    y, x = 16 * (i // 3), 16 * (i % 3)
    np.testing.assert_array_equal(cut[:, i], image[:, y : y + 16, x : x + 16])

  assert patches.positions(80, 64).max() == 128

  grey = patches.to_patches(image[..., :1])

  np.testing.assert_array_equal(grey[..., 0], grey[..., 2])


def one(spec: TaskSpec, **changes):
  observation = {k: np.zeros([1, *v.shape], v.dtype) for k, v in spec.observation.items()}
  observation["words"] = np.array(["go"])
  observation.update(changes)
  return observation


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"c/unit": np.float32([[np.nan, 0]])}, r"'c/unit': nan at index \[0, 0\]"),
    ({"b/scalar": np.float32([np.inf])}, "'b/scalar': inf"),
    ({"a/count": np.int32([[0, 1024]])}, r"must lie in \[0, 1024\)"),
    (
      {"words": np.array(["a very long instruction that nobody gave room for"])},
      "max_text_tokens allows 4",
    ),
  ],
)
def test_bad_values_are_refused_by_name(changes, message):
  text = layout.TokenLayout(golden_spec(), TEXT)
  with pytest.raises(GatoError, match=message):
    text.encode(one(golden_spec(), **changes), np.zeros([1, 2], np.float32))


def test_a_missing_field_is_named():
  observation = one(golden_spec())
  del observation["c/unit"]
  with pytest.raises(GatoError, match="no field 'c/unit'"):
    layout.TokenLayout(golden_spec(), TEXT).encode(observation, None)


@pytest.mark.parametrize(
  "field, message",
  [
    (
      {"eye": dm_specs.BoundedArray((20, 32, 3), np.uint8, 0, 255)},
      "20x32 must be multiples of 16",
    ),
    (
      {"long": dm_specs.Array((513,), np.float32)},
      "takes 513 tokens, the local position table has 512",
    ),
    ({"words": dm_specs.StringArray(())}, "max_text_tokens"),
  ],
)
def test_bad_specs_are_refused(field, message):
  spec = TaskSpec("bad.task", field, dm_specs.BoundedArray((1,), np.float32, -1, 1))
  with pytest.raises(GatoError, match=message):
    layout.TokenLayout(spec, TEXT)


def test_a_spec_survives_json_and_a_changed_one_does_not_match():
  spec = golden_spec()
  assert TaskSpec.from_json(spec.to_json()).fingerprint() == spec.fingerprint()
  other = TaskSpec.from_json(spec.to_json() | {"max_text_tokens": {"words": 5}})
  assert spec_difference(spec, other) == "max_text_tokens 'words': 4 against 5"


def test_equal_bounds_are_one_number_and_hash_as_if_all_were_written_out():
  image = dm_specs.BoundedArray((16, 16, 3), np.uint8, 0, 255)
  action = dm_specs.BoundedArray((2,), np.float32, [-1, -2], 1)
  spec = TaskSpec("a.b", {"image": image}, action)

  short, long = spec.to_json(), spec.to_json(every_bound=True)
  assert short["observation"]["image"]["maximum"] == 255
  assert short["action"]["minimum"] == [-1, -2] and short["action"]["maximum"] == 1
  assert np.shape(long["observation"]["image"]["maximum"]) == (16, 16, 3)

  # The hash of all datasets and checkpoints so far.
  assert spec.fingerprint() == "0c392b593984"
  for data in (short, long):
    assert TaskSpec.from_json(json.loads(json.dumps(data))).fingerprint() == spec.fingerprint()


def test_ids_follow_the_paper():
  assert (
    vocabulary.SIZE == 33_025
    and vocabulary.SEPARATOR == 33_024
    and vocabulary.CONTINUOUS_OFFSET == 32_000
  )
