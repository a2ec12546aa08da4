"""How well domain and task can be told from raw tokens, the embedding and each layer.

Probes are scikit-learn's LogisticRegression ("linear") and MLPClassifier with one hidden layer ("mlp"), fitted on
samples of some episodes and tested on samples of others.

Legend: N samples, d width.
"""

import dataclasses
import functools
import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse
from sklearn import base, decomposition, exceptions, linear_model, neural_network, pipeline, preprocessing

from gato_jax.interpret import states
from gato_jax.interpret.config import InterpretConfig
from gato_jax.interpret.rows import DOMAIN, RAW, TASK, WITHIN_DOMAIN, Probe
from gato_jax.interpret.samples import Sample
from gato_jax.tokens import vocabulary

_SIDE = 4  # the mean patch as 4 x 4 pixels
_SEEN = 5  # samples that an id must stand in
_RESAMPLES = 2000
_Features = np.ndarray | scipy.sparse.csr_array


@dataclasses.dataclass(frozen=True)
class Fit:
  """Which probe of which features is fitted."""

  target: str
  state: int
  layer: int
  probe: str = "linear"
  components: int = 0
  signs: bool = False
  shuffled: bool = False


def plan(config: InterpretConfig, layers: int) -> list[Fit]:
  """All probes of the states after the embedding and after each of `layers` blocks."""
  fits = []
  for target, state in itertools.product((DOMAIN, TASK), range(len(states.poolings(config.tokens)))):
    for layer in range(RAW, layers + 1):
      one = functools.partial(Fit, target, state, layer)
      fits += [one("linear"), one("mlp"), one(shuffled=True)]
      fits += [one(components=n) for n in config.components]
      fits += [one(signs=True)] if layer != RAW else []  # counts have no sign
  return fits


def run(fits: Sequence[Fit], found: Sequence[Sample], residual: np.ndarray, config: InterpretConfig) -> Iterator[Probe]:
  """A row for every fit whose target has two classes, two for those of the task: with the domain given, too.

  Args:
    residual: [layers + 1, S, N, d], of states.pooled.
  """
  labels = {DOMAIN: np.array([one.domain for one in found]), TASK: np.array([one.task for one in found])}

  @functools.cache
  def raw(state: int) -> scipy.sparse.csr_array:
    return raw_features([states.places(one, config.tokens)[state] for one in found], found)

  test = np.array([one.test for one in found])
  clusters = cluster_numbers([one for one in found if one.test])
  names = states.poolings(config.tokens)
  for fit in fits:
    if len(np.unique(labels[fit.target])) < 2:  # one domain: nothing to tell
      continue
    features = raw(fit.state) if fit.layer == RAW else residual[fit.layer, fit.state]
    told = labels[fit.target]
    shown = told[~test]
    if fit.shuffled:
      shown = np.random.default_rng(config.seed).permutation(shown)
    probe, converged = fitted(fit, features[~test], shown, config)
    scores = probe.predict_proba(features[test])
    everyone = np.ones(len(scores), bool)
    asked = [(fit.target, scores, everyone, _majority(shown, told[test]))]
    if fit.target == TASK:
      domains = np.array([name.split(".", 1)[0] for name in probe.classes_])
      own = domains == labels[DOMAIN][test][:, None]
      choice = own.sum(1) > 1
      if choice.any():
        asked.append((WITHIN_DOMAIN, np.where(own, scores, -1.0), choice, float(np.mean(1 / own.sum(1)[choice]))))
    for target, allowed, who, majority in asked:
      truth = told[test][who]
      right = probe.classes_[allowed[who].argmax(1)] == truth
      low, high = interval(right, clusters[who], labels[TASK][test][who])
      by_class = {str(name): float(right[truth == name].mean()) for name in np.unique(truth)}
      yield Probe(
        target, names[fit.state], fit.layer, fit.probe, fit.components, fit.signs, fit.shuffled,
        float(right.mean()), low, high, majority, len(probe.classes_), len(shown), len(right),
        len(np.unique(clusters[who])), converged, by_class,
      )  # fmt: skip


def fitted(
  fit: Fit, features: _Features, labels: np.ndarray, config: InterpretConfig
) -> tuple[base.BaseEstimator, bool]:
  """The probe, and whether its fit ended by itself."""
  sparse = scipy.sparse.issparse(features)
  steps: list[Any] = [preprocessing.FunctionTransformer(np.sign)] if fit.signs else []
  steps += [preprocessing.MaxAbsScaler() if sparse else preprocessing.StandardScaler()]
  if fit.components:
    kind = decomposition.TruncatedSVD if sparse else decomposition.PCA
    most = min(*features.shape)
    steps += [kind(min(fit.components, most), random_state=config.seed), preprocessing.StandardScaler()]
  if fit.probe == "linear":
    steps += [linear_model.LogisticRegression(max_iter=500)]
  else:
    steps += [neural_network.MLPClassifier((config.hidden,), early_stopping=True, random_state=config.seed)]
  with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always", exceptions.ConvergenceWarning)
    probe = pipeline.make_pipeline(*steps).fit(features, labels)
  return probe, not any(issubclass(one.category, exceptions.ConvergenceWarning) for one in said)


def raw_features(where: Sequence[np.ndarray], found: Sequence[Sample]) -> scipy.sparse.csr_array:
  """What there is before the network: how often each id and each kind stands at the places, and the mean patch.

  Args:
    where: places [n] of each sample.

  Returns:
    [N, ids + 7 kinds + 48 values of the mean patch at 4 x 4 pixels], shares of the n places apart from the patch, in
    [0, 1]; columns that are 0 in all but a few samples are left out. Where a token stands is not told.
  """
  rows = []
  kinds = len(vocabulary.Kind)
  for places, sample in zip(where, found, strict=True):
    at, row = sample.row["kinds"][places], sample.row
    ids = row["tokens"][places][at != vocabulary.Kind.PATCH]
    counted = np.zeros(vocabulary.SIZE + kinds + 3 * _SIDE**2)
    np.add.at(counted, ids, 1 / len(places))
    counted[vocabulary.SIZE : vocabulary.SIZE + kinds] = np.bincount(at, minlength=kinds) / len(places)
    slots = row["patch_slots"][places][at == vocabulary.Kind.PATCH]
    if len(slots):
      mean = row["patches"][slots].mean(0) / 255
      step = vocabulary.PATCH_SIDE // _SIDE
      counted[-3 * _SIDE**2 :] = mean.reshape(_SIDE, step, _SIDE, step, 3).mean((1, 3)).ravel()
    rows.append(scipy.sparse.csr_array(counted[None]))
  table = scipy.sparse.vstack(rows, format="csr")
  return table[:, np.flatnonzero(table.count_nonzero(axis=0) >= _SEEN)]


def cluster_numbers(found: Sequence[Sample]) -> np.ndarray:
  """int [N]: samples of one episode share a number."""
  numbers: dict[tuple[str, int], int] = {}
  return np.array([numbers.setdefault((one.task, one.episode), len(numbers)) for one in found])


def interval(right: np.ndarray, clusters: np.ndarray, strata: np.ndarray, level: float = 0.95) -> tuple[float, float]:
  """Bootstrap interval of the mean of `right`, bool [N]: whole clusters are drawn, within each stratum.

  Samples of one episode are alike, so that a binomial interval over samples would be too narrow. Where all are right,
  or none, drawing shows no spread: the exact binomial bound then, with the clusters as its trials.
  """
  tail = (1 - level) / 2
  if right.all() or not right.any():
    bound = tail ** (1 / len(np.unique(clusters)))
    return (bound, 1.0) if right.all() else (0.0, 1 - bound)
  random = np.random.default_rng(0)
  sums, sizes = np.zeros(_RESAMPLES), np.zeros(_RESAMPLES)
  for name in np.unique(strata):
    here = strata == name
    _, of_cluster = np.unique(clusters[here], return_inverse=True)
    size = np.bincount(of_cluster)
    hits = np.bincount(of_cluster, weights=right[here])
    drawn = random.multinomial(len(size), np.full(len(size), 1 / len(size)), size=_RESAMPLES)
    sums += drawn @ hits
    sizes += drawn @ size
  low, high = np.quantile(sums / sizes, [tail, 1 - tail])
  return float(low), float(high)


def _majority(shown: np.ndarray, told: np.ndarray) -> float:
  names, counts = np.unique(shown, return_counts=True)
  return float(np.mean(told == names[counts.argmax()]))
