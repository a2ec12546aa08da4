"""Probes for domain and task on raw tokens, the embedding and the output of each layer.

A probe is scikit-learn's LogisticRegression ("linear") or MLPClassifier with one hidden layer
("mlp"), fitted on samples of some episodes and tested on samples of others.

Legend: S states, N samples, D width.
"""

import dataclasses
import functools
import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse
from sklearn import (
  decomposition,
  exceptions,
  linear_model,
  neural_network,
  pipeline,
  preprocessing,
)

from experiments.analysis.interpret import states
from experiments.analysis.interpret.config import InterpretConfig
from experiments.analysis.interpret.rows import DOMAIN, RAW, TASK, WITHIN_DOMAIN, Probe
from experiments.analysis.interpret.samples import Sample
from gato_jax.tokens import vocabulary

_SIDE = 4  # the mean patch is reduced to 4 x 4 pixels
_LEAST_SAMPLES = 5  # a raw feature must occur in so many samples
_RESAMPLES = 2000
_Features: TypeAlias = np.ndarray | scipy.sparse.csr_array


@dataclasses.dataclass(frozen=True)
class ProbeSpec:
  """The settings of one probe.

  Attributes:
    target: DOMAIN or TASK.
    state: Index into states.poolings.
    layer: RAW, EMBEDDING, or the number of a block, from 1.
    probe: "linear" or "mlp".
    components: Principal components that are kept; 0 for all.
    signs: True if the probe sees only the signs of the state.
    shuffled: True if the labels are shuffled.
  """

  target: str
  state: int
  layer: int
  probe: str = "linear"
  components: int = 0
  signs: bool = False
  shuffled: bool = False


@dataclasses.dataclass(frozen=True)
class _Question:
  """A question that the predictions of a probe on the test samples answer.

  Attributes:
    target: DOMAIN, TASK or WITHIN_DOMAIN.
    scores: [N, classes] The class with the largest score is the answer.
    included: bool [N] The samples that count.
    majority: Accuracy without information.
  """

  target: str
  scores: np.ndarray
  included: np.ndarray
  majority: float


def plan(config: InterpretConfig, layers: int) -> list[ProbeSpec]:
  """Returns all probes of raw tokens, the embedding and each of `layers` blocks."""
  specs = []
  num_states = len(states.poolings(config.tokens))
  for target, state, layer in itertools.product(
    (DOMAIN, TASK), range(num_states), range(RAW, layers + 1)
  ):
    spec = functools.partial(ProbeSpec, target, state, layer)
    specs += [spec(probe="linear"), spec(probe="mlp"), spec(shuffled=True)]
    specs += [spec(components=n) for n in config.components]
    # Raw features are counts, which have no sign.
    if layer != RAW:
      specs.append(spec(signs=True))

  return specs


def run(
  specs: Iterable[ProbeSpec],
  drawn: Sequence[Sample],
  residual: np.ndarray,
  config: InterpretConfig,
) -> Iterator[Probe]:
  """Yields a row for every spec, and a second one (WITHIN_DOMAIN) if its target is the task.

  Specs whose target has only one class are skipped.

  Args:
    specs: The probes to fit.
    drawn: The samples, [N].
    residual: Their states, [layers + 1, S, N, D], of states.pooled.
    config: The settings.
  """
  labels = {
    DOMAIN: np.array([sample.domain for sample in drawn]),
    TASK: np.array([sample.task for sample in drawn]),
  }

  @functools.cache
  def raw(state: int) -> scipy.sparse.csr_array:
    positions = [states.positions(sample, config.tokens)[state] for sample in drawn]
    return raw_features(positions, drawn)

  test = np.array([sample.test for sample in drawn])
  test_clusters = cluster_numbers([sample for sample in drawn if sample.test])
  test_tasks, test_domains = labels[TASK][test], labels[DOMAIN][test]
  state_names = states.poolings(config.tokens)

  for spec in specs:
    # With a single domain there is nothing to tell.
    if len(np.unique(labels[spec.target])) < 2:
      continue

    features = raw(spec.state) if spec.layer == RAW else residual[spec.layer, spec.state]
    train_labels, test_labels = labels[spec.target][~test], labels[spec.target][test]
    if spec.shuffled:
      train_labels = np.random.default_rng(config.seed).permutation(train_labels)

    probe, converged = fit(spec, features[~test], train_labels, config=config)
    scores = probe.predict_proba(features[test])
    majority = _majority_accuracy(train_labels, test_labels)
    questions = [_Question(spec.target, scores, np.ones(len(scores), bool), majority)]
    if spec.target == TASK:
      within = _within_domain(scores, probe.classes_, test_domains)
      if within.included.any():
        questions.append(within)

    for question in questions:
      included = question.included
      truth = test_labels[included]
      correct = probe.classes_[question.scores[included].argmax(1)] == truth
      clusters = test_clusters[included]
      low, high = interval(correct, clusters, strata=test_tasks[included])
      yield Probe(
        target=question.target,
        state=state_names[spec.state],
        layer=spec.layer,
        probe=spec.probe,
        components=spec.components,
        signs=spec.signs,
        shuffled=spec.shuffled,
        accuracy=float(correct.mean()),
        low=low,
        high=high,
        majority=question.majority,
        classes=len(probe.classes_),
        fitted=len(train_labels),
        tested=len(correct),
        episodes=len(np.unique(clusters)),
        converged=converged,
        by_class={str(name): float(correct[truth == name].mean()) for name in np.unique(truth)},
      )


def _within_domain(scores: np.ndarray, tasks: np.ndarray, domains: np.ndarray) -> _Question:
  """Returns the question for the task if the domain is given.

  Args:
    scores: [N, classes] Probabilities of the task probe.
    tasks: [classes] Their tasks, "domain.task".
    domains: [N] Domains of the samples.
  """
  domain_of_class = np.array([name.split(".", 1)[0] for name in tasks])
  is_own = domain_of_class == domains[:, None]

  # Samples of a domain with a single task have no choice.
  choices = is_own.sum(1)
  included = choices > 1
  guessing = float(np.mean(1 / choices[included])) if included.any() else float("nan")

  # Probabilities are at least 0, so tasks of other domains are never chosen.
  return _Question(WITHIN_DOMAIN, np.where(is_own, scores, -1.0), included, majority=guessing)


def fit(
  spec: ProbeSpec, features: _Features, labels: np.ndarray, config: InterpretConfig
) -> tuple[pipeline.Pipeline, bool]:
  """Returns the fitted probe, and True if its fit converged."""
  is_sparse = scipy.sparse.issparse(features)
  steps: list[Any] = []
  if spec.signs:
    steps.append(preprocessing.FunctionTransformer(np.sign))

  # Subtracting a mean would fill in a sparse matrix.
  steps.append(preprocessing.MaxAbsScaler() if is_sparse else preprocessing.StandardScaler())
  if spec.components:
    decompose = decomposition.TruncatedSVD if is_sparse else decomposition.PCA
    components = min(spec.components, *features.shape)
    steps.append(decompose(components, random_state=config.seed))
    steps.append(preprocessing.StandardScaler())

  if spec.probe == "linear":
    steps.append(linear_model.LogisticRegression(max_iter=500))
  else:
    classifier = neural_network.MLPClassifier(
      (config.hidden,), early_stopping=True, random_state=config.seed
    )
    steps.append(classifier)

  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", exceptions.ConvergenceWarning)
    probe = pipeline.make_pipeline(*steps).fit(features, labels)

  converged = not any(
    issubclass(warning.category, exceptions.ConvergenceWarning) for warning in caught
  )
  return probe, converged


def raw_features(
  positions: Sequence[np.ndarray], drawn: Sequence[Sample]
) -> scipy.sparse.csr_array:
  """Returns the features of the raw tokens, without their order.

  Args:
    positions: The positions [n] of each sample that count.
    drawn: The samples, [N].

  Returns:
    [N, ids + 7 kinds + 48], all in [0, 1]: the share of the n positions of each token id and of
    each kind, and the mean patch at 4 x 4 pixels. Columns that are 0 in all but a few samples are
    left out.
  """
  num_kinds = len(vocabulary.Kind)
  num_pixels = 3 * _SIDE**2
  rows = []
  for indices, sample in zip(positions, drawn, strict=True):
    kinds = sample.row["kinds"][indices]
    is_patch = kinds == vocabulary.Kind.PATCH
    token_ids = sample.row["tokens"][indices][~is_patch]

    features = np.zeros(vocabulary.SIZE + num_kinds + num_pixels)
    np.add.at(features, token_ids, 1 / len(indices))
    kind_counts = np.bincount(kinds, minlength=num_kinds)
    features[vocabulary.SIZE : vocabulary.SIZE + num_kinds] = kind_counts / len(indices)

    slots = sample.row["patch_slots"][indices][is_patch]
    if len(slots):
      mean_patch = sample.row["patches"][slots].mean(0) / 255
      # Means over squares of `step` x `step` pixels.
      step = vocabulary.PATCH_SIDE // _SIDE
      squares = mean_patch.reshape(_SIDE, step, _SIDE, step, 3)
      features[-num_pixels:] = squares.mean((1, 3)).ravel()

    rows.append(scipy.sparse.csr_array(features[None]))

  table = scipy.sparse.vstack(rows, format="csr")
  return table[:, np.flatnonzero(table.count_nonzero(axis=0) >= _LEAST_SAMPLES)]


def cluster_numbers(drawn: Sequence[Sample]) -> np.ndarray:
  """Returns a number for each sample, int [N]; samples of one episode have the same."""
  numbers: dict[tuple[str, int], int] = {}
  clusters = [numbers.setdefault((sample.task, sample.episode), len(numbers)) for sample in drawn]
  return np.array(clusters)


def interval(
  correct: np.ndarray, clusters: np.ndarray, strata: np.ndarray, level: float = 0.95
) -> tuple[float, float]:
  """Returns the bootstrap interval of the mean of `correct`, bool [N].

  Whole clusters are drawn, within each stratum: samples of one episode are alike, so a binomial
  interval over samples would be too narrow. If all samples are correct, or none, resampling shows
  no spread, so one end is the exact binomial bound, with the clusters as its trials.
  """
  tail = (1 - level) / 2
  if correct.all() or not correct.any():
    bound = tail ** (1 / len(np.unique(clusters)))
    return (bound, 1.0) if correct.all() else (0.0, 1 - bound)

  random = np.random.default_rng(0)
  sums = np.zeros(_RESAMPLES)
  sizes = np.zeros(_RESAMPLES)
  for name in np.unique(strata):
    selected = strata == name
    _, cluster_index = np.unique(clusters[selected], return_inverse=True)
    cluster_size = np.bincount(cluster_index)
    cluster_sum = np.bincount(cluster_index, weights=correct[selected])

    # How often each cluster is drawn, [resamples, clusters].
    number = len(cluster_size)
    counts = random.multinomial(number, np.full(number, 1 / number), size=_RESAMPLES)
    sums += counts @ cluster_sum
    sizes += counts @ cluster_size

  low, high = np.quantile(sums / sizes, [tail, 1 - tail])
  return float(low), float(high)


def _majority_accuracy(train_labels: np.ndarray, test_labels: np.ndarray) -> float:
  """Returns the test accuracy of always naming the most frequent training label."""
  names, counts = np.unique(train_labels, return_counts=True)
  return float(np.mean(test_labels == names[counts.argmax()]))
