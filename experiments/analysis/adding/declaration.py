"""Proposes the declaration of a surveyed recording, and writes it as a domain's folder."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from experiments.analysis.adding.survey import FieldSurvey, Numbers, Survey
from gato_jax.domain import Source
from gato_jax.errors import GatoError
from gato_jax.storage import files

_OBSERVATION, _ACTION = "observation/", "action"
# Names of splits that are held out, the likeliest first.
_VALIDATION = ("validation", "valid", "val", "test")
_TOLD_ELSEWHERE = ("reward", "discount", "is_first", "is_last", "is_terminal")

# A bound that is reached rarely wastes bins: the quantiles are taken where they are this much
# narrower.
_WASTED = 0.5
_CLIP = 0.03  # two quantiles of 1 %, and what other episodes have more


@dataclasses.dataclass(frozen=True)
class Proposal:
  """A declaration, and what a person should know about it.

  Attributes:
    source: The declaration.
    max_text_tokens: Our key of each text -> tokens reserved for it.
    left_out: Paths that are neither observation nor action.
    remarks: What a person should know before training, one line each.
  """

  source: Source
  max_text_tokens: dict[str, int]
  left_out: tuple[str, ...]
  remarks: tuple[str, ...]


def propose(found: Survey) -> Proposal:
  """Returns the declaration that follows from what the fields hold.

  All observations that change are taken, and the instruction where there is one. Actions and
  states are scaled by their smallest and largest values, or by their quantiles of 1 % and 99 %
  where a few values are far out. A depth image gets the range of its values. A split for validation
  is held out.

  Raises:
    GatoError: There is no action or no observation.
  """
  actions = [field for path, field in found.fields.items() if _is_action(path)]
  actions = [field for field in actions if field.numbers is not None]
  if not actions:
    raise GatoError(
      f"{found.source.dataset} has no field `action`; its fields are {', '.join(found.fields)}"
    )

  observation, texts = {}, {}
  bounds, ranges = {}, {}
  left_out, remarks = [], []
  for path, field in found.fields.items():
    key = _key(path)
    if key and field.numbers is not None and field.numbers.is_constant.all():
      # What never changes is no observation, and experiments.check refuses it.
      remarks.append(f"{key} never changes: left out")
      left_out.append(path)
      continue

    if field.kind == "text" and key:
      # Room for texts that are somewhat longer than those that were read.
      texts[key] = 8 * (field.tokens // 8 + 1)
    if key:
      observation[key] = path
      if field.kind == "depth" and field.numbers is not None:
        ranges[key] = _range(field.numbers)
        remarks.append(f"{key}: {ranges[key][0]:g} becomes black and {ranges[key][1]:g} white")
      elif field.numbers is not None and not _is_discrete(field.numbers):
        bounds[key], about_bounds = _bounds([field.numbers], key)
        remarks += about_bounds
    elif not _is_action(path) and path not in _TOLD_ELSEWHERE:
      left_out.append(path)
  if not observation:
    raise GatoError(f"{found.source.dataset} has no field below `observation`")

  source = dataclasses.replace(
    found.source,
    observation=observation,
    action=tuple(field.path for field in actions),
    observation_bounds=bounds,
    image_range=ranges,
  )
  source, about_splits = _with_validation_split(source, found)
  source, about_actions = _with_action_bounds(source, actions)
  source, about_images = _with_image_size(source, found)

  remarks = [*about_splits, *about_actions, *about_images, *remarks]
  return Proposal(source, texts, left_out=tuple(left_out), remarks=tuple(remarks))


def _is_action(path: str) -> bool:
  return path == _ACTION or path.startswith(f"{_ACTION}/")


def _key(path: str) -> str:
  """Returns our key of an observation or instruction, "" for other fields."""
  if path.startswith(_OBSERVATION):
    return path.removeprefix(_OBSERVATION).replace("/", "_")
  return "instruction" if "instruction" in path else ""


def _is_discrete(numbers: Numbers) -> bool:
  """True for integers that are tokens themselves."""
  return bool(
    numbers.are_integers and np.all(numbers.minimum >= 0) and np.all(numbers.maximum < 1024)
  )


def _with_validation_split(source: Source, found: Survey) -> tuple[Source, list[str]]:
  """Holds out the first split whose name says so, and names those that nothing is read of."""
  others = [name for name in found.splits if name != source.split]
  held_out = [name for name in _VALIDATION if name in others]
  if held_out:
    source = dataclasses.replace(source, validation_split=held_out[0])

  unused = [name for name in others if name != source.validation_split]
  remarks = [f"the split {source.validation_split!r} is held out for validation"] * bool(held_out)
  if unused:
    remarks.append(
      f'splits that are not read: {", ".join(unused)}; split="{source.split}+{unused[0]}" would'
    )
  return source, remarks


def _with_action_bounds(source: Source, actions: list[FieldSurvey]) -> tuple[Source, list[str]]:
  numbers = [field.numbers for field in actions if field.numbers is not None]

  # One integer is a choice.
  first = numbers[0]
  if len(numbers) == 1 and first.are_integers and len(first.minimum) == 1 and first.minimum[0] >= 0:
    return dataclasses.replace(source, choices=int(first.maximum[0]) + 1), []

  (minimum, maximum), remarks = _bounds(numbers, "action")
  clip = _CLIP if any("98 %" in remark for remark in remarks) else Source.clip
  return dataclasses.replace(source, minimum=minimum, maximum=maximum, clip=clip), remarks


def _bounds(
  numbers: list[Numbers], name: str
) -> tuple[tuple[tuple[float, ...], tuple[float, ...]], list[str]]:
  """Returns the bounds of all numbers of some fields, and what a person should know about them."""
  minimum, maximum = (np.concatenate([getattr(n, side) for n in numbers]) for side in _BOUNDS)
  low, high = (np.concatenate([getattr(n, side) for n in numbers]) for side in _QUANTILES)
  constant = minimum == maximum
  far_out = ~constant & (high > low) & (high - low < _WASTED * (maximum - minimum))

  below = np.where(far_out, low, minimum)
  above = np.where(far_out, high, maximum)
  # A number that never changes needs some room to be a number at all.
  below = np.where(constant, minimum - 1, below)
  above = np.where(constant, maximum + 1, above)

  remarks = []
  if constant.any():
    which = ", ".join(f"{i} ({minimum[i]:g})" for i in np.flatnonzero(constant))
    remarks.append(f"{name} has numbers that never change, of which nothing is learned: {which}")
  remarks += [
    f"{name} number {i} lies in [{minimum[i]:.4g}, {maximum[i]:.4g}], 98 % of it in "
    f"[{low[i]:.4g}, {high[i]:.4g}]: these are its bounds, and what is outside is moved to them"
    for i in np.flatnonzero(far_out)
  ]
  return (_rounded(below, down=True), _rounded(above, down=False)), remarks


_BOUNDS = ("minimum", "maximum")
_QUANTILES = ("low", "high")


def _range(numbers: Numbers) -> tuple[float, float]:
  """Returns the values of a depth image that become black and white."""
  (low,), (high,) = _rounded(numbers.minimum, down=True), _rounded(numbers.maximum, down=False)
  return low, high if high > low else low + 1


def _rounded(bounds: np.ndarray, down: bool) -> tuple[float, ...]:
  """Rounds bounds to four digits, away from the values, but not for a float32's last digit."""
  rounded = []
  for bound in bounds:
    digits = 3 - int(np.floor(np.log10(abs(bound)))) if bound else 0
    scaled = bound * 10.0**digits
    whole = np.floor(scaled + 1e-3) if down else np.ceil(scaled - 1e-3)
    rounded.append(float(f"{whole / 10.0**digits:.4g}"))

  return tuple(rounded)


def _with_image_size(source: Source, found: Survey) -> tuple[Source, list[str]]:
  """Pads images whose sides are no multiples of 16, and names very large ones."""
  shapes = {
    field.shape[:2]
    for path, field in found.fields.items()
    if field.kind in ("image", "depth") and path in source.observation.values()
  }
  if not shapes or all(side is not None and side % 16 == 0 for shape in shapes for side in shape):
    fitting = source
  else:
    sides = [[shape[axis] or 128 for shape in shapes] for axis in (0, 1)]
    size = tuple((max(of_axis) + 15) // 16 * 16 for of_axis in sides)
    fitting = dataclasses.replace(source, image_size=(size[0], size[1]), resize="pad")

  remarks = []
  sizes = [fitting.image_size] if fitting.image_size else sorted(shapes, key=str)
  for height, width in sizes:
    patches = (height or 0) // 16 * ((width or 0) // 16)
    if patches > 100:
      remarks.append(
        f"images of {height} x {width} take {patches} tokens each: give a smaller image_size, "
        "such as (96, 128)"
      )
  return fitting, remarks


def write(folder: pathlib.Path, name: str, task: str, proposal: Proposal) -> None:
  """Writes the folder of a domain with one task.

  Raises:
    GatoError: The folder exists.
  """
  if folder.exists():
    raise GatoError(
      f"{folder} exists: choose another --name, or add the source by hand to its SOURCES:\n"
      f'  "{task}": {render(proposal.source)},'
    )

  files.write(folder / "__init__.py", _init(name, task, proposal))
  files.write(folder / f"{name}_dataset_builder.py", _BUILDER.format(name=name))
  files.write(folder / "requirements.txt", "# Nothing beyond what reads recorded episodes.\n")
  files.write(folder / "scores.json", "{}\n")
  files.write(folder / "README.md", _readme(name, task, proposal))


def render(source: Source, indent: int = 2) -> str:
  """Returns a declaration as Python, without the fields that have their defaults."""
  lines = [f'"{source.dataset}"']
  defaults = Source("")
  for field in dataclasses.fields(Source)[1:]:
    value = getattr(source, field.name)
    if value == getattr(defaults, field.name):
      continue

    if isinstance(value, dict):
      inside = "".join(f'{" " * (indent + 4)}"{k}": {_literal(v)},\n' for k, v in value.items())
      lines.append(f"{field.name}={{\n{inside}{' ' * (indent + 2)}}}")
    else:
      lines.append(f"{field.name}={_literal(value)}")

  inside = "".join(f"{' ' * (indent + 2)}{line},\n" for line in lines)
  return f"Source(\n{inside}{' ' * indent})"


def _literal(value: Any) -> str:
  """Returns a value as Python with double quotes."""
  return repr(value).replace("'", '"')


def _init(name: str, task: str, proposal: Proposal) -> str:
  return f'''"""Recorded episodes, declared as experiments.add proposed."""

from gato_jax.domain import RecordedDomain, Source

SOURCES = {{
  "{task}": {render(proposal.source)},
}}
DOMAIN = RecordedDomain(
  name="{name}",
  tasks=tuple(SOURCES),
  weight=0.0,  # not part of the paper's mixture
  agent_id="{name}-recorded",
  max_text_tokens={str(proposal.max_text_tokens).replace("'", '"')},
  sources=SOURCES,
)
'''


_BUILDER = '''"""RLDS dataset of {name}: `tfds build` in this folder, one config per task."""

import rlds_builders.{name} as domain
from rlds_builders.base import recorded_builder, rlds_builder


class Builder(recorded_builder.CatalogueBuilder):
  """Recorded episodes in the form that Gato reads."""

  DOMAIN = domain.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(domain.DOMAIN)
'''


def _readme(name: str, task: str, proposal: Proposal) -> str:
  remarks = "".join(f"* {line}\n" for line in proposal.remarks) or "None.\n"
  return f"""# {name}: recorded episodes

`{name}.{task}` is declared in `__init__.py` as `python -m experiments.add` proposed, to be read and
changed. It is read from

`{proposal.source.dataset}`

## What was noticed

{remarks}"""
