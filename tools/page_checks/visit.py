"""One look at a page, with what must hold for any page held at its end."""

from contextlib import contextmanager
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe

WIDTHS = {"wide": (1280, 900), "phone": (390, 844)}
SCHEMES = ("light", "dark")

# Addresses of blobs that were made and not given back, and how far visible things were moved.
WATCH = """
window.blobs = new Set();
const [make, revoke] = [URL.createObjectURL, URL.revokeObjectURL];
URL.createObjectURL = (blob) => { const url = make.call(URL, blob); blobs.add(url); return url; };
URL.revokeObjectURL = (url) => { blobs.delete(url); revoke.call(URL, url); };
window.shifts = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) shifts.push(entry.value);
}).observe({ type: "layout-shift", buffered: true });
"""


class Visit:
    """A page with what it did: requests, errors."""

    def __init__(self, page, base, out):
        self.page, self.base, self.out = page, base, out
        self.requests, self.errors, self.foreign = [], [], []
        # Statuses that the check provokes; a browser logs each as an error.
        self.expected = set()
        page.on("request", self._requested)
        page.on("console", self._logged)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _requested(self, request):
        self.requests.append(request)
        url = urlsplit(request.url)
        if url.scheme not in ("blob", "data") and f"{url.scheme}://{url.netloc}" != self.base:
            self.foreign.append(request.url)

    def _logged(self, message):
        provoked = any(f"status of {status} " in message.text for status in self.expected - {0})
        broken = 0 in self.expected and "net::ERR_" in message.text
        if message.type in ("error", "warning") and not provoked and not broken:
            self.errors.append(message.text)

    def posts(self):
        return [request for request in self.requests if request.method == "POST"]

    def hold(self):
        """What must hold whenever one looks."""
        assert not self.foreign, f"asked of elsewhere: {self.foreign}"
        assert not self.errors, f"errors in the console: {self.errors}"
        wide = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], f"{wide[0]} pixels wide in a window of {wide[1]}"

    def look(self, name):
        """Holds, is judged by axe-core, and leaves a screenshot."""
        self.hold()
        # What moves is judged when it stands.
        self.page.evaluate(
            "Promise.all(document.getAnimations().map((a) => a.finished.catch(() => {})))"
        )
        found = Axe().run(self.page)
        assert found.violations_count == 0, found.generate_report()
        self.page.screenshot(path=self.out / f"{name}.png", full_page=True)

    def shift(self):
        """How far what was visible has moved since the last call, as browsers measure it."""
        frames = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        self.page.evaluate(frames)
        return self.page.evaluate("shifts.splice(0).reduce((a, b) => a + b, 0)")


@contextmanager
def visit(browser, base, out, width="wide", scheme="light", **options):
    """A visit in a browser that knows nothing yet; what must hold is held when it ends well."""
    size = dict(zip(("width", "height"), WIDTHS[width]))
    context = browser.new_context(viewport=size, color_scheme=scheme, **options)
    try:
        context.add_init_script(WATCH)
        seen = Visit(context.new_page(), base, out)
        yield seen
        seen.hold()
    finally:
        context.close()
