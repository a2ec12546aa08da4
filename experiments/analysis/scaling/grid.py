"""Defines the runs of a sweep, and the rule that sizes their networks and sets learning rates.

The rule, for a network of width d:
  * At the paper's widths (768, 1536, 2048) the network and the peak learning rate are the paper's
    (Reed et al. 2022, appendix C).
  * Below 768, the shape is what the paper's three networks have in common: heads x key size = d
    and a feed-forward width of 4 d. Keys are of size 32, as in its smallest network. There is one
    layer per 32 of the width, at least two. The peak learning rate is 2e-3 x 128 / d: the demo's
    at its width, falling with the width as in muP for Adam (Yang et al. 2022).
  * Above 768, any other width is an error.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from gato_jax.errors import GatoError
from gato_jax.model import config as model_config

# Width -> (variant, peak learning rate).
_PUBLISHED = {
  768: ("gato_79m", 1e-4),
  1536: ("gato_364m", 2e-4),
  2048: ("gato_1b", 1e-4),
}
_KEY_SIZE = 32
_WIDTH_PER_LAYER = 32
# Width and peak learning rate of the demo, which was tuned by hand.
_DEMO_WIDTH, _DEMO_RATE = 128, 2e-3
_SIZE_FIELDS = ("layers", "heads", "width", "feed_forward", "key_size")


@dataclasses.dataclass(frozen=True)
class GridConfig:
  """A sweep: every width with every number of tokens and every seed.

  Attributes:
    widths: Of the networks.
    tokens: Of each run, padding included, rounded to whole batches. Each run has its own cosine.
    seeds: Of the parameters and of the order of the data.
    predict_largest: The runs of the largest network on the most tokens are predicted, not fitted.
  """

  widths: tuple[int, ...] = (64, 96, 128, 160, 192)
  tokens: tuple[int, ...] = (120_000, 240_000, 480_000, 960_000)
  seeds: tuple[int, ...] = (0,)
  predict_largest: bool = True

  def __post_init__(self) -> None:
    for name in ("widths", "tokens", "seeds"):
      values = tuple(getattr(self, name))
      # A seed may be 0, a width or a number of tokens may not.
      smallest = 0 if name == "seeds" else 1
      if not values or len(set(values)) != len(values) or min(values) < smallest:
        raise GatoError(f"scaling.{name}={values}: different positive whole numbers, at least one")

    for width in self.widths:
      network(width)


@dataclasses.dataclass(frozen=True)
class GridRun:
  """One run of a sweep."""

  width: int
  tokens: int
  seed: int

  @property
  def name(self) -> str:
    """Name of the run and of its directory, e.g. "w128-t600k-s0"."""
    short = f"{self.tokens // 1000}k" if self.tokens % 1000 == 0 else str(self.tokens)
    return f"w{self.width}-t{short}-s{self.seed}"

  def steps(self, batch_tokens: int) -> int:
    """Returns the number of training steps with batches of so many tokens, at least 1."""
    return max(1, round(self.tokens / batch_tokens))


def runs(config: GridConfig) -> list[GridRun]:
  """Returns all runs, ordered by tokens, then width.

  A sweep that is interrupted then has complete small budgets.
  """
  combinations = itertools.product(config.tokens, config.widths, config.seeds)
  return [GridRun(width, tokens, seed) for tokens, width, seed in sorted(combinations)]


def network(width: int) -> dict[str, Any]:
  """Returns the fields of GatoConfig that the rule sets for a width."""
  if width in _PUBLISHED:
    published = model_config.variant(_PUBLISHED[width][0])
    return {name: getattr(published, name) for name in _SIZE_FIELDS}

  if width > min(_PUBLISHED) or width % _KEY_SIZE:
    raise GatoError(
      f"scaling.widths: {width} is neither one of the paper's"
      f" ({', '.join(map(str, _PUBLISHED))}) nor a multiple of {_KEY_SIZE} below {min(_PUBLISHED)}"
    )

  return {
    "layers": max(2, width // _WIDTH_PER_LAYER),
    "heads": width // _KEY_SIZE,
    "width": width,
    "feed_forward": 4 * width,
    "key_size": _KEY_SIZE,
  }


def peak_learning_rate(width: int) -> float:
  """Returns the peak learning rate that the rule sets for a width."""
  if width in _PUBLISHED:
    return _PUBLISHED[width][1]
  return _DEMO_RATE * _DEMO_WIDTH / width


def settings(run: GridRun, batch_tokens: int) -> Mapping[str, Any]:
  """Returns the settings that a run changes in the sweep's config, by dotted name."""
  model = {f"model.{name}": value for name, value in network(run.width).items()}
  return {
    **model,
    "optimizer.peak_learning_rate": peak_learning_rate(run.width),
    "train.steps": run.steps(batch_tokens),
    "train.seed": run.seed,
    "data.seed": run.seed,
  }


def overrides(run: GridRun, batch_tokens: int) -> Sequence[str]:
  """Returns `settings` as command-line flags."""
  return tuple(f"--config.{name}={value}" for name, value in settings(run, batch_tokens).items())
