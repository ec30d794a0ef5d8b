"""The browser that looks at pages: the system's Chromium, else Playwright's own."""

import functools
import shutil

from playwright.sync_api import Browser, Error, Playwright, sync_playwright


def launched(playwright: Playwright) -> Browser:
    """A browser."""
    # Chromium's own sandbox does not start for root.
    return playwright.chromium.launch(executable_path=shutil.which("chromium"), chromium_sandbox=False)


@functools.cache
def why_no_browser() -> str | None:
    """Why this machine cannot look at a page; None if it can."""
    try:
        with sync_playwright() as playwright:
            launched(playwright).close()
    except Error as error:
        told = error.message.strip().splitlines()[0]
        return f"no Chromium starts ({told}): 'scripts/install-system-packages browser' installs one"
    return None
