"""Which runs make a sweep, and the one rule that sizes their networks and sets their learning rates.

The rule, for a network of width d:
  * Of the paper's widths (768, 1536, 2048) network and peak learning rate are the paper's (GATO_SPEC section 3).
  * Below 768: what its three networks have in common, heads x key size = d and a feed-forward width of 4 d, with keys
    of 32 as in its smallest; a layer for every 32 of the width, at least two; the peak is 2e-3 x 128 / d, the demo's at
    its width and falling with the width, as muP has it for Adam (Yang et al. 2022).
  * Above 768, any other width is an error.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from gato_jax.errors import GatoError
from gato_jax.model import config as model_config

_PUBLISHED = {  # width -> variant, peak learning rate
  768: ("gato_79m", 1e-4),
  1536: ("gato_364m", 2e-4),
  2048: ("gato_1b", 1e-4),
}
_KEY_SIZE = 32
_WIDTH_A_LAYER = 32
_ANCHOR = (128, 2e-3)  # width and peak learning rate of the demo, which was tuned by hand
_SIZE_FIELDS = ("layers", "heads", "width", "feed_forward", "key_size")


@dataclasses.dataclass(frozen=True)
class GridConfig:
  """A sweep: every width with every number of tokens and every seed.

  Attributes:
    widths: of the networks. tokens: of each run, padding included, rounded to whole batches; one cosine each.
    seeds: of the parameters and of the order of the data.
    hold_out: the runs of the largest network on the most tokens are predicted, not fitted.
  """

  widths: tuple[int, ...] = (64, 96, 128, 160, 192)
  tokens: tuple[int, ...] = (120_000, 240_000, 480_000, 960_000)
  seeds: tuple[int, ...] = (0,)
  hold_out: bool = True

  def __post_init__(self):
    for name in ("widths", "tokens", "seeds"):
      values = tuple(getattr(self, name))
      if not values or len(set(values)) != len(values) or min(values) < (name != "seeds"):
        raise GatoError(f"scaling.{name}={values}: different positive whole numbers, at least one")
    for width in self.widths:
      network(width)


@dataclasses.dataclass(frozen=True)
class Run:
  """One run of a sweep. name: also its folder's, e.g. "w128-t600k-s0"."""

  width: int
  tokens: int
  seed: int

  @property
  def name(self) -> str:
    short = f"{self.tokens // 1000}k" if self.tokens % 1000 == 0 else str(self.tokens)
    return f"w{self.width}-t{short}-s{self.seed}"

  def steps(self, batch_tokens: int) -> int:
    return max(1, round(self.tokens / batch_tokens))


def runs(config: GridConfig) -> list[Run]:
  """All of them, the cheapest first: a sweep that is cut short leaves whole small budgets."""
  every = itertools.product(config.tokens, config.widths, config.seeds)
  return [Run(width, tokens, seed) for tokens, width, seed in sorted(every)]


def network(width: int) -> dict[str, Any]:
  """The rule's fields of GatoConfig for a width."""
  if width in _PUBLISHED:
    published = model_config.variant(_PUBLISHED[width][0])
    return {name: getattr(published, name) for name in _SIZE_FIELDS}
  if width > min(_PUBLISHED) or width % _KEY_SIZE:
    raise GatoError(
      f"scaling.widths: {width} is neither one of the paper's ({', '.join(map(str, _PUBLISHED))}) nor a multiple of"
      f" {_KEY_SIZE} below {min(_PUBLISHED)}"
    )
  return {
    "layers": max(2, width // _WIDTH_A_LAYER),
    "heads": width // _KEY_SIZE,
    "width": width,
    "feed_forward": 4 * width,
    "key_size": _KEY_SIZE,
  }


def peak_learning_rate(width: int) -> float:
  """The rule's."""
  if width in _PUBLISHED:
    return _PUBLISHED[width][1]
  anchor, rate = _ANCHOR
  return rate * anchor / width


def settings(run: Run, batch_tokens: int) -> Mapping[str, Any]:
  """What a run changes in the sweep's config, by dotted name."""
  return {
    **{f"model.{name}": value for name, value in network(run.width).items()},
    "optimizer.peak_learning_rate": peak_learning_rate(run.width),
    "train.steps": run.steps(batch_tokens),
    "train.seed": run.seed,
    "data.seed": run.seed,
  }


def overrides(run: Run, batch_tokens: int) -> Sequence[str]:
  """The same as flags of a verb."""
  return tuple(f"--config.{name}={value}" for name, value in settings(run, batch_tokens).items())
