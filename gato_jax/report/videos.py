"""Rollouts as small GIFs, each with a JSON of what it shows."""

import dataclasses
import io
import json
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from gato_jax import files, results
from gato_jax.errors import GatoError

MAX_SIDE = 128  # pixels
MAX_FRAMES = 100
MIN_GIF_SECONDS = 0.02  # browsers play anything faster at 10 frames a second
SUFFIXES = (".gif", ".mp4")


@dataclasses.dataclass(frozen=True)
class Rollout:
  """A video file and the episode in it; what is not known where no JSON lies beside the file is None.

  Attributes:
    kind: "best" or "worst" of the task's episodes at that step. seed, step: of the episode and its checkpoint.
    episode_return, success: of what the video shows. scored_return: of the same seed when it was played for its score.
  """

  task: str
  path: pathlib.Path
  kind: str | None = None
  seed: int | None = None
  step: int | None = None
  episode_return: float | None = None
  success: bool | None = None
  scored_return: float | None = None

  @property
  def domain(self) -> str:
    return self.task.split(".", 1)[0]

  @property
  def differs(self) -> bool:
    """Whether the filmed episode went otherwise than the scored one."""
    known = self.episode_return is not None and self.scored_return is not None
    return known and not np.isclose(self.episode_return, self.scored_return, rtol=1e-6)


def stride(frames: int) -> int:
  """Every so many frames of an episode are enough for a video."""
  return -(-frames // MAX_FRAMES)


def write_gif(frames: Sequence[np.ndarray], path: pathlib.Path, fps: float) -> None:
  """Writes frames, each uint8 [H, W, 3], at most MAX_FRAMES of them, evenly subsampled, in real time at `fps`."""
  if not frames:
    raise GatoError(f"{path}: no frames to write; record them with run_episodes(record_frames=...)")
  every = stride(len(frames))
  kept = list(frames[::every])
  if (len(frames) - 1) % every:
    kept[-1] = frames[-1]  # the end of the episode is what a viewer wants to see
  images = [_shrink(frame) for frame in kept]
  milliseconds = round(1000 * max(every / fps, MIN_GIF_SECONDS))
  gif = io.BytesIO()
  images[0].save(gif, "GIF", save_all=True, append_images=images[1:], duration=milliseconds, loop=0, optimize=True)
  files.write(path, gif.getvalue())


def write_rollout(
  folder: pathlib.Path, kind: str, frames: Sequence[np.ndarray], fps: float, shown: results.Row, scored: results.Row
) -> pathlib.Path:
  """<folder>/<domain>.<task>.<kind>.gif and its JSON, which the page's caption comes from.

  Args:
    shown: the episode in the frames. scored: the row that it repeats.
  """
  path = folder / f"{shown.task}.{kind}.gif"
  write_gif(frames, path, fps)
  facts = {
    "task": shown.task,
    "kind": kind,
    "seed": shown.seed,
    "step": shown.step,
    "episode_return": shown.episode_return,
    "success": shown.success,
    "scored_return": scored.episode_return,
  }
  files.write_json(_facts_path(path), facts)
  return path


def find(folder: pathlib.Path) -> list[Rollout]:
  """Every .gif or .mp4 of a folder, by name; none where the folder does not exist."""
  rollouts = []
  for path in sorted(p for p in folder.glob("*.*") if p.suffix in SUFFIXES):
    facts = _facts_path(path)
    try:
      known = json.loads(facts.read_text()) if facts.exists() else {}
      rollouts.append(Rollout(**{"task": path.stem, **known, "path": path}))
    except (json.JSONDecodeError, TypeError) as e:
      raise GatoError(f"{facts}: not the facts of a rollout ({e}); delete it and evaluate again") from e
  return rollouts


def delete_others(folder: pathlib.Path, step: int) -> None:
  """Deletes the videos that show another checkpoint than that of `step`; files without a JSON are not ours."""
  for rollout in find(folder):
    if rollout.step != step and _facts_path(rollout.path).exists():
      rollout.path.unlink()
      _facts_path(rollout.path).unlink()


def _facts_path(path: pathlib.Path) -> pathlib.Path:
  return path.with_name(f"{path.stem}.json")


def _shrink(frame: np.ndarray) -> Image.Image:
  image = Image.fromarray(np.asarray(frame, np.uint8))
  image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BILINEAR)
  return image.quantize(64, dither=Image.Dither.NONE)
