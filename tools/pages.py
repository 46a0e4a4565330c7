"""Checks the pages of running servers in a real browser.

    pip install playwright axe-playwright-python
    python3 tools/pages.py --classify http://127.0.0.1:8080 --out target/pages
    python3 tools/pages.py --classify http://127.0.0.1:8080 --token TOKEN --out target/pages

`--classify` is the address of a `resnet serve` with two models or more; with `--token` it wants
that token, and the page has to ask for it. The browser is Chromium (`--chromium`, else the one on
the path). Screenshots of both widths and both schemes of colours go into `--out`. Whatever a page
asks of another place, logs as an error or leaves wider than the window fails the check, and so does
what axe-core finds.
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

from page_checks.classify import check_classify, check_token

# The camera is a moving picture of the browser's own, and needs no permission from anybody.
ARGUMENTS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--classify", metavar="URL", required=True, help="address of a `resnet serve`"
    )
    parser.add_argument("--token", help="token that it wants")
    parser.add_argument(
        "--out", type=Path, default=Path("target/pages"), help="directory for screenshots"
    )
    parser.add_argument(
        "--chromium", default=shutil.which("chromium"), help="the browser's program"
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=args.chromium, args=ARGUMENTS)
        try:
            if args.token:
                checks = check_token(browser, args.classify, args.token, args.out)
            else:
                checks = check_classify(browser, args.classify, args.out)
            for name in checks:
                print(f"{name}: as it should be", flush=True)
        finally:
            browser.close()


if __name__ == "__main__":
    main()
