"""Checks of the page that classifies pictures."""

import csv
import io
import json
import re
import tempfile
from pathlib import Path

from playwright.sync_api import expect

from .pictures import png, tiff, upload
from .server import ask, near, run_commands
from .visit import SCHEMES, WIDTHS, visit

# The most that visible things may move when answers come: "good" of web vitals is 0.1.
SHIFT = 0.05

TWO = [upload("first one.png", png(500, 375, 1)), upload('it\'s "second".png', png(240, 400, 2))]
# Names that a spreadsheet, CSV or a shell would take for something else.
QUOTED = 'a, "b" isn\'t.png'
NAMES = ["=1+1.png", QUOTED, "c.png", "d.png", "e.png", "f.png"]
MANY = [upload(name, png(96 + 8 * i, 96, 10 + i)) for i, name in enumerate(NAMES)]
# The colour at a place from 0 to 1, read from a copy, and the last one of heat maps.
COLOUR = """(canvas, [x, y]) => {
  const { width, height } = canvas;
  const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  return [...copy.getImageData(Math.floor(x * width), Math.floor(y * height), 1, 1).data];
}"""
LAST_COLOUR = """() => {
  const value = getComputedStyle(document.documentElement).getPropertyValue("--heat4").trim();
  return [1, 3, 5].map((at) => parseInt(value.slice(at, at + 2), 16));
}"""
# What a page gets when a picture is pasted.
TRANSFER = """([name, bytes]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
  return data;
}"""
PASTE = "(data) => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data }))"
# Whether one sees where the focus is.
RINGED = """() => {
  let node = document.activeElement;
  if (node.matches(".hidden-input, .switch input")) node = node.closest(".button, .switch");
  const { outlineStyle, outlineWidth } = getComputedStyle(node);
  return outlineStyle !== "none" && parseFloat(outlineWidth) >= 1;
}"""
TIFF = upload("scan.tif", tiff(60, 40))
TEXT = upload("notes.txt", b"no picture at all\n" * 20)
DAMAGED = upload("damaged.png", png(64, 64)[:200])


def opened(seen):
    """Opens the page until it knows its models."""
    seen.page.goto(seen.base)
    expect(seen.page.locator("main:not(.loading)")).to_be_visible()


def answered(page, panels):
    expect(page.locator(".panel[aria-busy=false]")).to_have_count(panels, timeout=60_000)


def counted(page, rows):
    expect(page.locator("tbody .c-class0")).to_have_count(rows)
    expect(page.locator("tbody .pending")).to_have_count(0, timeout=60_000)


def choose_second(page):
    """Chooses another model to stand beside the first; returns its name in addresses."""
    other = page.locator("#second option:not([value='']):not([disabled])").first
    name = other.get_attribute("value")
    page.select_option("#second", name)
    return name


def hold_posts(page):
    """Keeps requests that classify from the server until the function returned is called."""
    held, free = [], []

    def route(route):
        if route.request.method != "POST" or free:
            route.continue_()
        else:
            held.append(route)

    def release():
        free.append(True)
        for waiting in held:
            waiting.continue_()

    page.route("**/classify/**", route)
    return release


def check_empty(seen, name):
    """Nothing chosen yet: one sentence says what to do and by which model."""
    response = seen.page.goto(seen.base)
    assert "default-src 'self'" in response.headers["content-security-policy"]
    expect(seen.page.locator("main:not(.loading)")).to_be_visible()
    _, service = ask(seen.base, "classify")
    model = next(model for model in service["models"] if model["default"])
    text = seen.page.locator("#invitation").inner_text()
    assert model["name"] in text and f"{model['classes']:,}" in text, text
    assert seen.shift() < SHIFT, "things move while the page loads"
    seen.look(f"classify-empty-{name}")


def check_cards(seen, name):
    """Chosen pictures: what is shown is what the server says, nothing moves when it comes."""
    page = seen.page
    opened(seen)
    release = hold_posts(page)
    page.set_input_files("#files", TWO)
    expect(page.locator(".card")).to_have_count(2)
    expect(page.locator(".card img")).to_have_count(2)
    seen.shift()
    release()
    answered(page, 2)
    moved = seen.shift()
    assert moved < SHIFT, f"answers move what is visible by {moved}"
    model = page.locator("#first").input_value()
    for card, picture in zip(page.locator(".card").all(), TWO):
        _, answer = ask(seen.base, f"classify/{model}?top=5&cam=1", picture["buffer"])
        found = answer["pictures"][0]
        shown = card.locator(".bar").all()
        assert len(shown) == len(found["top"])
        for bar, guess in zip(shown, found["top"]):
            assert bar.locator(".label").inner_text() == guess["label"]
            assert near(bar.locator(".share").inner_text(), guess["probability"])
        verdicts = " ".join(card.locator(".verdict strong").all_inner_texts()).lower()
        assert ("not sure" in verdicts) == (found.get("sure") is False), (
            verdicts,
            found.get("sure"),
        )
        assert ("unlike" in verdicts) == (found.get("unlike") is True), (
            verdicts,
            found.get("unlike"),
        )
        expect(card.locator(".times dd")).to_have_count(5)
    expect(page.locator("#live")).to_contain_text(TWO[0]["name"])
    check_heat(seen, page.locator(".card").first, model)
    seen.look(f"classify-cards-{name}")
    page.get_by_role("button", name="Remove all").click()
    expect(page.locator("#results")).to_be_hidden()
    assert page.evaluate("blobs.size") == 0, "addresses of pictures are not given back"


def check_heat(seen, card, model):
    """The map stands where the server says, and follows the class that is chosen."""
    page, drawn = seen.page, card.locator(".stage canvas")
    expect(drawn).to_be_visible()
    _, answer = ask(seen.base, f"classify/{model}?top=5&cam=1", TWO[0]["buffer"])
    found = answer["pictures"][0]
    check_map(drawn, found["cam"], found["width"], found["height"])
    second = card.locator(".bar").nth(1)
    label, number = found["top"][1]["label"], found["top"][1]["class"]
    second.click()
    expect(card.locator(".bar[aria-pressed=true] .label")).to_have_text(label)
    expect(card.locator(".heat-text")).to_contain_text(label)
    assert seen.posts()[-1].url.endswith(f"&cam=1&class={number}"), seen.posts()[-1].url
    path = f"classify/{model}?top=5&cam=1&class={number}"
    _, answer = ask(seen.base, path, TWO[0]["buffer"])
    check_map(drawn, answer["pictures"][0]["cam"], found["width"], found["height"])
    slider = card.locator("input[type=range]")
    slider.focus()
    slider.press("Home")
    assert drawn.evaluate("(canvas) => canvas.style.opacity") == "0"
    slider.press("End")
    assert drawn.evaluate("(canvas) => canvas.style.opacity") == "1"
    for _ in range(3):
        slider.press("PageDown")
    page.locator("#heat").uncheck()
    expect(drawn).to_be_hidden()
    page.locator("#heat").check()
    expect(drawn).to_be_visible()
    answered(page, 2)


def check_map(drawn, cam, width, height):
    """The strongest cell is the last colour in full; what was not seen is grey and dark."""
    left, top, seen_width, seen_height = cam["region"]
    strongest = max(range(len(cam["values"])), key=cam["values"].__getitem__)
    row, column = divmod(strongest, cam["width"])
    y = top + (row + 0.5) / cam["height"] * seen_height
    x = left + (column + 0.5) / cam["width"] * seen_width
    if cam["values"][strongest] > 0:
        colour = drawn.evaluate(COLOUR, [x / width, y / height])
        last = drawn.evaluate(LAST_COLOUR)
        assert max(abs(a - b) for a, b in zip(colour, [*last, 255])) < 30, f"{colour}, not {last}"
    if left > 2:
        red, green, blue, alpha = drawn.evaluate(COLOUR, [left / 2 / width, y / height])
        assert red == green == blue and alpha > 100, f"what was not seen is {red, green, blue}"


def check_drop_and_paste(seen):
    """Pictures that are dropped anywhere or pasted; what is no picture is left or explained."""
    page = seen.page
    opened(seen)
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / "folder" / "inner"
        inner.mkdir(parents=True)
        (inner / "10.png").write_bytes(png(48, 48, 2))
        (inner / "9.png").write_bytes(png(48, 48, 3))
        (inner / ".hidden.png").write_bytes(png(48, 48, 4))
        (inner.parent / "notes.txt").write_text("no picture")
        drag(page, {"items": [], "files": [str(inner.parent)]})
        answered(page, 2)
    names = ["folder/inner/9.png", "folder/inner/10.png"]
    expect(page.locator(".card h3")).to_have_text(names)
    pasted = page.evaluate_handle(TRANSFER, ["image.png", list(png(48, 48, 4))])
    page.evaluate(PASTE, pasted)
    answered(page, 3)
    expect(page.locator(".card h3")).to_have_text(["pasted-1.png", *names])
    link = {"mimeType": "text/uri-list", "data": "http://localhost/a.png"}
    drag(page, {"items": [link], "files": []})
    expect(page.locator("#trouble")).to_contain_text("Only files can be dropped")


def drag(page, data):
    """Drags something over the window and drops it, as the system does."""
    session = page.context.new_cdp_session(page)
    data["dragOperationsMask"] = 1
    at = {"x": 200, "y": 40, "data": data}
    for kind in ("dragEnter", "dragOver"):
        session.send("Input.dispatchDragEvent", {"type": kind, **at})
    if data["files"]:
        expect(page.locator("#drop-veil")).to_be_visible()
    session.send("Input.dispatchDragEvent", {"type": "drop", **at})
    expect(page.locator("#drop-veil")).to_be_hidden()


def check_keyboard(seen):
    """Everything is reached and done without a mouse, and where one is can be seen."""
    page = seen.page
    opened(seen)

    def tab():
        page.keyboard.press("Tab")

    def focused(what):
        return page.evaluate(f"document.activeElement.{what}")

    def until(test, most=60):
        for _ in range(most):
            tab()
            assert page.evaluate(RINGED), f"no ring around {focused('outerHTML')[:120]}"
            if focused(f"matches({json.dumps(test)})"):
                return
        raise AssertionError(f"{test} is not reached by the keyboard")

    tab()
    assert focused("className") == "skip", "the first stop is not the link past the head"
    until("#files")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(TWO)
    answered(page, 2)
    until(".card .bar")
    tab()
    page.keyboard.press("Enter")
    second = page.locator(".card").first.locator(".bar").nth(1)
    expect(second).to_have_attribute("aria-pressed", "true")
    expect(second).to_be_focused()
    until("#cards .commands summary")
    page.keyboard.press("Enter")
    expect(page.locator("#cards .commands[open] code").first).to_contain_text("curl")
    remove = page.get_by_role("button", name=re.compile("^Remove (?!all)"))
    remove.last.focus()
    page.keyboard.press("Enter")
    expect(remove).to_have_count(1)
    expect(remove).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#files")).to_be_focused()


def check_two(seen, name):
    """Two models beside each other, each with its own map and classes."""
    page = seen.page
    opened(seen)
    page.set_input_files("#files", TWO[:1])
    other = choose_second(page)
    answered(page, 2)
    panels = page.locator(".panel").all()
    for panel, model in zip(panels, [page.locator("#first").input_value(), other]):
        _, answer = ask(seen.base, f"classify/{model}?top=5", TWO[0]["buffer"])
        labels = [guess["label"] for guess in answer["pictures"][0]["top"]]
        assert panel.locator(".label").all_inner_texts() == labels
    page.locator("#cards .commands summary").click()
    run_commands(page.locator("#cards .commands"), TWO[:1], 2)
    seen.look(f"classify-two-{name}")
    # What was asked once is known.
    before = len(seen.posts())
    page.select_option("#second", "")
    answered(page, 1)
    page.select_option("#second", other)
    answered(page, 2)
    assert len(seen.posts()) == before


def check_table(seen, name):
    """Many pictures: a table that is sorted, filtered and saved, with a card for each."""
    page = seen.page
    opened(seen)
    page.set_input_files("#files", MANY)
    counted(page, len(MANY))
    expect(page.locator("#live")).to_have_text(f"{len(MANY)} pictures done")
    sort = page.locator(".sort", has_text="Probability")

    def shares():
        texts = page.locator("tbody .c-share0").all_inner_texts()
        return [float(re.search(r"[\d.]+", text)[0]) for text in texts]

    sort.click()
    assert shares() == sorted(shares(), reverse=True)
    expect(page.locator("th.c-share0")).to_have_attribute("aria-sort", "descending")
    sort.click()
    assert shares() == sorted(shares())
    sort.click()
    expect(page.locator("th.c-share0")).to_have_attribute("aria-sort", "none")
    expect(page.locator("tbody .name")).to_have_text(NAMES)
    search = page.get_by_role("searchbox")
    search.fill('A, "B')
    expect(page.locator("tbody .name")).to_have_text([QUOTED])
    search.fill("")
    other = choose_second(page)
    counted(page, len(MANY))
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    text = Path(download.value.path()).read_bytes().decode()
    assert text.endswith("\r\n") and "\n" not in text.replace("\r\n", "")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == 2 * len(MANY)
    names = [f"'{name}" if name.startswith("=") else name for name in NAMES]
    assert [row["file"] for row in rows[::2]] == names
    for row, picture in zip(rows[1::2], MANY):
        _, answer = ask(seen.base, f"classify/{other}?top=1", picture["buffer"])
        best = answer["pictures"][0]["top"][0]
        assert (row["label"], row["class"]) == (best["label"], str(best["class"]))
        assert abs(float(row["probability"]) - best["probability"]) < 0.001
    page.locator(".table-bar ~ .commands summary").click()
    run_commands(page.locator(".table-bar ~ .commands"), MANY, 2)
    page.locator(".table-bar ~ .commands summary").click()
    page.locator("tbody .name").nth(1).click()
    answered(page, 2)
    expect(page.locator("tbody .card h3")).to_have_text(QUOTED)
    seen.look(f"classify-table-{name}")


def check_errors(seen):
    """The server's own words, and what can be done."""
    page = seen.page
    seen.expected = {415, 422, 503, 0}
    opened(seen)
    model = page.locator("#first").input_value()
    for picture, status in [(TEXT, 415), (DAMAGED, 422)]:
        code, answer = ask(seen.base, f"classify/{model}", picture["buffer"])
        assert code == status, (code, answer)
        page.set_input_files("#files", picture)
        error = page.locator(".card", has_text=picture["name"]).locator(".banner")
        expect(error).to_contain_text(answer["error"])
        expect(error.get_by_role("button")).to_be_hidden()
    page.get_by_text("Cards", exact=True).click()
    # Too large: told without being sent.
    _, service = ask(seen.base, "classify")
    sent = len(seen.posts())
    page.set_input_files("#files", upload("huge.png", bytes(service["limits"]["body_bytes"] + 1)))
    expect(page.locator(".card", has_text="huge.png").locator(".banner")).to_contain_text("at most")
    assert len(seen.posts()) == sent
    # Busy: asked again by itself when the server's time has come.
    busy = json.dumps({"error": "all is taken; try again later"})
    later = {"retry-after": "3", "content-type": "application/json"}
    reply = {"status": 503, "headers": later, "body": busy}
    page.route("**/classify/**", lambda route: route.fulfill(**reply), times=1)
    page.set_input_files("#files", upload("busy.png", png(32, 32, 5)))
    card = page.locator(".card", has_text="busy.png")
    expect(card.locator(".banner")).to_contain_text("all is taken")
    expect(card.locator(".banner button")).to_have_text(re.compile("Try again in [1-3] s"))
    expect(card.locator(".bar:enabled").first).to_be_visible()
    # Away: asked again when the user says so.
    page.route("**/classify/**", lambda route: route.abort(), times=1)
    page.set_input_files("#files", upload("away.png", png(32, 32, 6)))
    card = page.locator(".card", has_text="away.png")
    expect(card.locator(".banner")).to_contain_text("does not answer")
    seen.look("classify-errors")
    card.get_by_role("button", name="Try again").click()
    expect(card.locator(".bar:enabled").first).to_be_visible()


def check_tiff(seen):
    """A picture that browsers cannot show is classified all the same."""
    page = seen.page
    opened(seen)
    page.set_input_files("#files", TIFF)
    answered(page, 1)
    expect(page.locator(".missing")).to_contain_text("TIFF")
    expect(page.locator(".bar:enabled").first).to_be_visible()
    seen.look("classify-tiff")


def check_cancel(seen):
    """Two requests at a time, and none for what was removed."""
    page = seen.page
    seen.expected = {0}
    opened(seen)
    release = hold_posts(page)
    failed = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    with page.expect_request(lambda _: len(seen.posts()) == 2):
        page.set_input_files("#files", MANY)
    expect(page.locator("tbody .pending")).to_have_count(len(MANY))
    assert len(seen.posts()) == 2, f"{len(seen.posts())} requests at once"
    with page.expect_event("requestfailed"):
        page.get_by_role("button", name=f"Remove {NAMES[0]}").click()
    assert len(failed) == 1
    release()
    counted(page, len(MANY) - 1)
    assert len(seen.posts()) == len(MANY)


def check_camera(seen):
    """A still from the camera, which is off afterwards."""
    page = seen.page
    opened(seen)
    page.get_by_role("button", name="Use the camera").click()
    page.locator("#shoot:enabled").wait_for()
    tracks = page.evaluate_handle("document.querySelector('video').srcObject.getTracks()")
    seen.look("classify-camera")
    page.locator("#shoot").click()
    answered(page, 1)
    expect(page.locator(".card h3")).to_have_text("camera-1.jpg")
    states = tracks.evaluate("(all) => all.map((track) => track.readyState)")
    assert states == ["ended"], states


def check_classify(browser, base, out):
    """All checks on a server that wants no token; yields the name of each that passed."""
    base = base.rstrip("/")
    for width in WIDTHS:
        for scheme in SCHEMES:
            name = f"{width}-{scheme}"
            for check in (check_empty, check_cards, check_two, check_table):
                with visit(browser, base, out, width, scheme) as seen:
                    check(seen, name)
                yield f"{check.__name__} {name}"
    once = [check_drop_and_paste, check_keyboard, check_errors, check_tiff, check_cancel]
    for check in [*once, check_camera]:
        with visit(browser, base, out) as seen:
            check(seen)
        yield check.__name__


def check_token(browser, base, token, out):
    """The page of a server that wants a token: asked for, refused, kept in the tab, forgotten."""
    base = base.rstrip("/")
    assert ask(base, "classify")[0] == 401, "the server wants no token"
    with visit(browser, base, out) as seen:
        page = seen.page
        seen.expected = {401}
        page.goto(base)
        use = page.get_by_role("button", name="Use it")
        expect(page.locator("#token")).to_be_focused()
        seen.look("classify-token")
        page.locator("#token").fill("not-" + token)
        use.click()
        expect(page.locator("#token-heading")).to_have_text("The token was refused")
        page.locator("#token").fill(token)
        use.click()
        expect(page.locator("main:not(.loading)")).to_be_visible()
        page.set_input_files("#files", TWO)
        answered(page, 2)
        page.locator("#cards .commands summary").first.click()
        run_commands(page.locator("#cards .commands").first, TWO[:1], 1, token)
        assert token not in page.content(), "the token stands in the page"
        page.reload()
        expect(page.locator("main:not(.loading)")).to_be_visible()
        page.get_by_role("button", name="Forget it").click()
        page.set_input_files("#files", TWO)
        expect(page.locator("#token-dialog")).to_be_visible()
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".panel .banner button")).to_have_count(2)
        expect(page.locator("#token-dialog")).to_be_hidden()
    yield "check_token"
