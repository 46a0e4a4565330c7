"""Checks the page of a board in a browser: curves, zoom, sliders, tables, widths and colours.

    pip install playwright                      # and a Chromium: apt-get install chromium
    python3 tools/board_page.py target/release/resnet OUT [--chromium PROGRAM] [--every 50]

Makes ten runs of 64,000 steps with tools/board_runs.py, opens a board of them, and leaves
screenshots in OUT. With `--every 1` their logs have a line for each step. Prints how long the board
took to open and the memory it held.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

RUNS = 10
SCREENS = [(390, 844, 2), (1280, 900, 1)]

# Whether a curve is drawn: pixels of a canvas that are neither empty nor grey.
COLOURED = """canvas => {
  const { width, height } = canvas;
  if (!width || !height) return 0;
  const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const data = copy.getImageData(0, 0, width, height).data;
  let found = 0;
  for (let i = 0; i < data.length; i += 4) {
    const [r, g, b, a] = data.slice(i, i + 4);
    if (a > 80 && Math.max(r, g, b) - Math.min(r, g, b) > 40) found++;
  }
  return found;
}"""


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def until(page, expression, seconds=20):
    """Waits until an expression is true. The page's policy forbids what Playwright's own wait does."""
    for _ in range(seconds * 20):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


@contextmanager
def opened(browser, base, width, height, scale, scheme):
    """A page that has been watched: errors, and requests to anywhere but the board."""
    context = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=scale, color_scheme=scheme)
    page, wrong = context.new_page(), []
    origin = base.split("/#")[0].rstrip("/")
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    elsewhere = lambda url: not url.startswith((origin + "/", "blob:" + origin))
    page.on("request", lambda request: wrong.append(request.url) if elsewhere(request.url) else None)
    page.goto(base)
    until(page, f"document.querySelectorAll('.runs > li').length === {RUNS}")
    yield page
    check(not wrong, f"the page at {width} px, {scheme}: {wrong}")
    context.close()


def drawn(page, selector):
    """Waits until the curves of a chart are there, and returns how much of them."""
    canvas = page.locator(selector).first.locator("canvas").first
    canvas.scroll_into_view_if_needed()
    for _ in range(500):
        found = canvas.evaluate(COLOURED)
        if found > 200:
            return found
        page.wait_for_timeout(20)
    raise AssertionError(f"nothing is drawn in {selector}")


def check_looks(page, out, name):
    """Everything is there, nothing is wider than the screen."""
    for chart in page.locator(".charts .plot").all():
        chart.scroll_into_view_if_needed()
        page.wait_for_timeout(50)
    for number in range(1, 7):
        drawn(page, f".charts figure:nth-child({number}) .plot")
    drawn(page, "section[aria-labelledby=depth] .plot")
    check(page.locator(".predictions > li").count() == 8, "eight pictures are shown")
    check(page.locator(".numbers tbody tr").count() == RUNS, "a row for each run")
    wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    check(wide[0] <= wide[1], f"{name}: {wide[0]} px wide on a screen of {wide[1]}")
    check("token" not in page.url, "the token stands in the address")
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=out / f"board-{name}.png", full_page=True)


def check_curves(page, out):
    plot = page.locator(".plot").first
    until(page, f"document.querySelector('.plot').getAttribute('aria-label').split(', ').length > {RUNS}")
    drawn(page, ".plot")
    box = plot.bounding_box()
    middle = box["y"] + box["height"] / 3
    page.mouse.move(box["x"] + box["width"] * 0.3, middle)
    # The crosshair tells a value of each run.
    until(page, f"document.querySelectorAll('.tip .row').length === {RUNS}")
    page.screenshot(path=out / "board-hover.png")
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=5)
    page.mouse.up()
    whole = page.get_by_role("button", name="Whole runs")
    whole.wait_for()
    page.screenshot(path=out / "board-zoom.png")
    plot.dblclick(position={"x": box["width"] * 0.5, "y": box["height"] / 3})
    whole.wait_for(state="hidden")

    # By keyboard alone.
    plot.focus()
    page.keyboard.press("ArrowLeft")
    until(page, "document.getElementById('live').textContent.startsWith('step ')")
    page.keyboard.press("+")
    whole.wait_for()
    page.keyboard.press("Escape")
    whole.wait_for(state="hidden")

    for axis, told in [("Epochs", "epoch"), ("Time", "min"), ("Steps", "step")]:
        page.locator(".choice").get_by_text(axis, exact=True).click()
        page.mouse.move(box["x"] + box["width"] * 0.3, middle)
        until(page, f"document.querySelector('.tip .head')?.textContent.includes('{told}')")
        page.mouse.move(box["x"], box["y"] - 20)

    # A run that is switched off is gone from the curves.
    page.locator(".runs input").first.uncheck()
    page.mouse.move(box["x"] + box["width"] * 0.3, middle)
    until(page, f"document.querySelectorAll('.tip .row').length === {RUNS - 1}")
    page.locator(".runs input").first.check()
    before = drawn(page, ".plot")
    page.locator("#smoothing").fill("0")
    page.wait_for_timeout(200)
    check(drawn(page, ".plot") != before, "smoothing changes what is drawn")
    page.locator("#log").uncheck()
    page.wait_for_timeout(200)
    page.locator("#log").check()


def check_sliders(page, out):
    section = page.locator("section[aria-labelledby=depth]")
    last = section.locator("output").inner_text()
    canvas = section.locator("canvas").first
    before = canvas.evaluate("canvas => canvas.toDataURL()")
    section.locator("input[type=range]").fill("0")
    page.wait_for_timeout(200)
    check(section.locator("output").inner_text() == "0" != last, "the slider goes to the first step")
    check(canvas.evaluate("canvas => canvas.toDataURL()") != before, "the gradients change with the step")
    section.get_by_role("button", name="Play").click()
    until(page, "document.querySelector('section[aria-labelledby=depth] output').textContent !== '0'")
    section.get_by_role("button", name="Pause").click()
    section.locator("select").select_option("weight")

    section = page.locator("section[aria-labelledby=predictions]")
    section.locator("input[type=range]").fill("0")
    page.wait_for_timeout(200)
    check(section.locator("output").inner_text().startswith("epoch 1,"), "the slider goes to the first evaluation")
    check(section.locator(".verdict.wrong").count() > 0, "the first guesses are not all right")
    section.scroll_into_view_if_needed()
    page.screenshot(path=out / "board-predictions.png")


def check_recipes_and_actions(page):
    keys = page.locator(".numbers thead .key").all_inner_texts()
    found = {key.replace("\n", "") for key in keys}
    check({"model.arch", "optimizer.lr", "schedule.kind"} <= found, f"differing keys: {found}")
    check("train.batch" not in found, "keys that are the same are left out")
    # There is nothing to go on from, so what is told is a failure.
    page.get_by_role("button", name="Resume").first.click()
    failed = page.locator(".notice.failed")
    failed.wait_for()
    told = page.locator("#live").inner_text()
    check("failed" in told and "failed" in failed.inner_text(), f"the failure is told: {told}")


def check_board(browser, base, out):
    """Checks the board at `base`, the address it printed, token and all; screenshots go to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for width, height, scale in SCREENS:
        for scheme in ["light", "dark"]:
            with opened(browser, base, width, height, scale, scheme) as page:
                check_looks(page, out, f"{width}-{scheme}")
    with opened(browser, base, 1280, 900, 1, "light") as page:
        check_curves(page, out)
        check_sliders(page, out)
        check_recipes_and_actions(page)
    context = browser.new_context()
    page = context.new_page()
    page.goto(base.split("#")[0])
    page.get_by_label("Token").fill(base.split("token=")[1])
    # The page begins anew with the token.
    with page.expect_navigation():
        page.keyboard.press("Enter")
    until(page, f"document.querySelectorAll('.runs > li').length === {RUNS}")
    context.close()


@contextmanager
def board(binary, folder):
    """A board of a folder: its address and its process."""
    process = subprocess.Popen([binary, "board", folder, "--listen", "0"], stderr=subprocess.PIPE, text=True)
    try:
        yield process.stderr.readline().split()[1], process
    finally:
        process.terminate()
        process.wait()


def main():
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--every", default="50")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        maker = Path(__file__).with_name("board_runs.py")
        subprocess.run([sys.executable, maker, folder, "--runs", str(RUNS), "--every", args.every], check=True)
        browser = playwright.chromium.launch(executable_path=args.chromium, args=["--no-sandbox"])
        began = time.monotonic()
        with board(args.binary.resolve(), folder) as (base, process):
            with opened(browser, base, 1280, 900, 1, "light") as page:
                until(page, "document.querySelectorAll('.runs > li.waiting').length === 0")
                drawn(page, ".plot")
                took = time.monotonic() - began
                shown = page.evaluate("performance.now()") / 1000
            check_board(browser, base, args.out)
            status = Path(f"/proc/{process.pid}/status")
            held = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")] if status.exists() else []
        browser.close()
    memory = f", {int(held[0]) / 1024:.0f} MiB at most" if held else ""
    times = f"all curves {shown:.2f} s after the page was asked for, {took:.2f} s after the board began"
    print(f"the board of {RUNS} runs is as it should be; {times}{memory}")


if __name__ == "__main__":
    main()
