"""A real browser without a window, where one is installed (Debian's package chromium)."""

import html
import json
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

needed = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


def evaluate(page: pathlib.Path, script: str, width: int = 1200) -> str:
  """Opens a page, runs JavaScript in it, and returns what `script` returns, as a text.

  An error of the page's own scripts comes back instead.

  Args:
    page: The HTML file.
    script: Body of a function.
    width: Pixels of the window.
  """
  assert CHROMIUM is not None
  # The first script hears of errors in all that follow; the last one leaves its result in the DOM.
  listening = "<script>window.onerror = (text) => { window.failure = text; };</script>"
  asking = f"""<script>
    const answer = document.createElement("output");
    answer.id = "answer";
    let told;
    try {{ told = (() => {{ {script} }})(); }} catch (e) {{ told = String(e); }}
    answer.textContent = window.failure || told;
    document.body.append(answer);
  </script>"""
  text = page.read_text().replace("<head>", "<head>" + listening, 1)

  with tempfile.TemporaryDirectory() as folder:
    copy = pathlib.Path(folder) / "page.html"
    copy.write_text(text.replace("</body>", asking + "</body>", 1))
    done = subprocess.run(
      [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder}/profile",
        f"--window-size={width},1000",
        "--dump-dom",
        copy.as_uri(),
      ],
      capture_output=True,
      text=True,
      timeout=120,
      check=True,
    )

  (answer,) = re.findall(r'<output id="answer">(.*?)</output>', done.stdout, re.DOTALL)
  return answer


# Widths of a phone, a tablet and a desk, in pixels.
WIDTHS = (400, 800, 1400)

# Finds what a reader would stumble over in a document that is shown at some width.
_FAULTS = r"""
  function faults(page, width) {
    const found = [];
    const named = (element) => element.tagName.toLowerCase() + " " +
      JSON.stringify((element.textContent || element.alt || "").trim().slice(0, 40));
    const root = page.documentElement;
    if (root.scrollWidth > width) found.push(`the body scrolls: ${root.scrollWidth} of ${width}`);

    for (const element of page.body.querySelectorAll("*")) {
      if (["SCRIPT", "STYLE", "OPTION"].includes(element.tagName)) continue;
      const box = element.getBoundingClientRect();
      if (!box.width || !box.height) continue;
      // What lies in a box that scrolls can be reached.
      let reachable = false;
      for (let above = element; above && above !== page.body; above = above.parentElement)
        reachable ||= ["auto", "scroll"].includes(page.defaultView.getComputedStyle(above).overflowX);
      if (!reachable && (box.right > width + 1 || box.left < -1)) found.push(`cut off: ${named(element)}`);
    }
    for (const image of page.querySelectorAll("img")) {
      if (!image.alt) found.push(`no alt text: ${image.src.slice(-40)}`);
      if (image.complete && !image.naturalWidth && image.loading !== "lazy")
        found.push(`does not load: ${image.getAttribute("src").slice(0, 40)}`);
    }
    for (const element of page.querySelectorAll("[onclick]"))
      if (!["BUTTON", "A", "INPUT", "SUMMARY"].includes(element.tagName) && element.tabIndex < 0)
        found.push(`not reached by keyboard: ${named(element)}`);

    // Text that can be told from what is behind it, by WCAG's contrast.
    const light = (colour) => {
      const [r, g, b] = colour.match(/[\d.]+/g).slice(0, 3).map((c) => {
        c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    for (const element of page.querySelectorAll("p, h1, h2, td, th, li, figcaption, pre")) {
      if (!element.textContent.trim()) continue;
      let behind = "rgb(255, 255, 255)";
      for (let above = element; above; above = above.parentElement) {
        const colour = page.defaultView.getComputedStyle(above).backgroundColor;
        if (!/, 0\)$|transparent/.test(colour)) { behind = colour; break; }
      }
      const [a, b] = [page.defaultView.getComputedStyle(element).color, behind].map(light);
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (contrast < 4.5) found.push(`pale (${contrast.toFixed(1)}): ${named(element)}`);
    }
    return found;
  }
"""


def faults(page: pathlib.Path, dark: bool = False) -> list[str]:
  """Returns what a reader would stumble over in a page, at each of WIDTHS.

  The body scrolls sideways, something is cut off, an image has no alt text or does not load,
  something is not reached by keyboard, a text is pale.

  Args:
    page: The HTML file.
    dark: True for a reader who prefers dark pages.
  """
  assert CHROMIUM is not None
  frames = "".join(
    f'<iframe width="{width}" height="1000" style="border: 0" srcdoc="{html.escape(page.read_text())}">'
    "</iframe>"
    for width in WIDTHS
  )
  outer = f"""<!doctype html><body>{frames}<script>{_FAULTS}
    window.addEventListener("load", () => {{
      const found = [...document.querySelectorAll("iframe")].flatMap((frame) =>
        faults(frame.contentDocument, +frame.width).map((fault) => frame.width + " px: " + fault));
      const answer = document.createElement("output");
      answer.textContent = JSON.stringify([...new Set(found)]);
      document.body.replaceChildren(answer);
    }});
  </script></body>"""

  # Beside the page, since its images are named by relative paths.
  with (
    tempfile.TemporaryDirectory() as folder,
    tempfile.NamedTemporaryFile("w", suffix=".html", dir=page.parent) as copy,
  ):
    copy.write(outer)
    copy.flush()
    done = subprocess.run(
      [
        CHROMIUM,
        *("--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"),
        *(["--blink-settings=preferredColorScheme=0"] if dark else []),
        f"--user-data-dir={folder}/profile",
        "--window-size=1600,1000",
        "--virtual-time-budget=10000",
        "--dump-dom",
        pathlib.Path(copy.name).as_uri(),
      ],
      capture_output=True,
      text=True,
      timeout=300,
      check=True,
    )

  (answer,) = re.findall(r"<output>(.*?)</output>", done.stdout, re.DOTALL)
  return json.loads(html.unescape(answer))


def assert_readable(page: pathlib.Path, dark: bool = False) -> None:
  """Fails where `faults` finds anything; without a browser nothing is looked at."""
  if CHROMIUM is not None:
    found = faults(page, dark)
    assert not found, found
