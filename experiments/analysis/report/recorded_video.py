"""A held-out episode as a video: its images above curves of recorded and predicted actions.

Legend: n frames of the video, A numbers of the action.
"""

import pathlib
from collections.abc import Mapping, Sequence

import av
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from experiments.analysis.report import drawing
from gato_jax.storage import files

_WIDTH = 640  # pixels
_IMAGE_HEIGHT = 192
_CURVES = 8  # numbers of the action that are drawn
_CURVE_HEIGHT = 64
_DPI = 100
_CURSOR = (0, 114, 178)
_PREDICTED, _RECORDED = drawing.COLORS[5], drawing.INK


def write(
  path: pathlib.Path,
  images: Sequence[np.ndarray],
  recorded: np.ndarray,
  predicted: np.ndarray,
  facts: Mapping[str, object],
  fps: float,
) -> None:
  """Writes the video, and a JSON beside it.

  Args:
    path: The MP4 file, which is replaced.
    images: Columns uint8 [n, H, W, 3] of the cameras, none where the task has no images.
    recorded: [n, A].
    predicted: [n, A].
    facts: For the caption: step, episode.
    fps: Frames a second.
  """
  curves, places = _draw_curves(recorded[:, :_CURVES], predicted[:, :_CURVES])
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_suffix(".partial.mp4")

  with av.open(str(partial), "w") as container:
    stream = container.add_stream("libx264", rate=max(1, round(fps)), options={"crf": "23"})
    stream.pix_fmt = "yuv420p"

    for step, place in enumerate(places):
      picture = _frame([column[step] for column in images], curves, place)
      if not step:
        stream.height, stream.width = picture.shape[:2]
      container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
    container.mux(stream.encode())

  partial.replace(path)
  files.write_json(path.with_suffix(".json"), dict(facts))


def _draw_curves(recorded: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, list[int]]:
  """Draws all curves.

  Returns:
    The picture, uint8 [H, W, 3], and the column of pixels of each step.
  """
  count = recorded.shape[1]
  size = (_WIDTH / _DPI, (count * _CURVE_HEIGHT + 40) / _DPI)
  figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
  canvas = FigureCanvasAgg(figure)
  panels = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]

  for number, axes in enumerate(panels):
    drawing.clean(axes)
    axes.plot(recorded[:, number], color=_RECORDED, linewidth=1.2, label="recorded")
    axes.plot(
      predicted[:, number], ".", color=_PREDICTED, markersize=4, alpha=0.8, label="predicted"
    )
    axes.set_ylabel(str(number), rotation=0, ha="right", va="center")
    axes.tick_params(labelsize=7)
    axes.set_xlim(-0.5, len(recorded) - 0.5)
  panels[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=8)
  panels[-1].set_xlabel("step", fontsize=8)

  canvas.draw()
  transform = panels[0].transData
  places = [round(float(transform.transform((step, 0.0))[0])) for step in range(len(recorded))]
  return np.asarray(canvas.buffer_rgba())[..., :3].copy(), places


def _frame(images: Sequence[np.ndarray], curves: np.ndarray, place: int) -> np.ndarray:
  """Returns a frame: images side by side, and the curves with a line at the step."""
  curves = curves.copy()
  curves[:, place - 1 : place + 2] = _CURSOR

  parts = [curves]
  if images:
    strip = Image.new("RGB", (_WIDTH, _IMAGE_HEIGHT), "white")
    left = 0
    for image in images:
      picture = Image.fromarray(image)
      width = round(picture.width * _IMAGE_HEIGHT / picture.height)
      strip.paste(picture.resize((width, _IMAGE_HEIGHT)), (left, 0))
      left += width + 4
    parts.insert(0, np.asarray(strip))

  whole = np.concatenate(parts)
  # The codec halves the colours' resolution, so that sides must be even.
  return whole[: len(whole) // 2 * 2]
