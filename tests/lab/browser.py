"""A real browser, without a window: Chromium, driven by Selenium, of this machine's
packages. It is where somebody outside is, and reaches nothing but the host."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from .net import Net

_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
    "--lang=en-US",
    # Its own first page is somewhere in the Internet, and would be waited for.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 203.0.113.1",
    # It is told what to do by a pipe: its network is not ours.
    "--remote-debugging-pipe",
)
_PROGRAM = '#!/bin/sh\nexec nsenter --net={} -- /usr/bin/chromium "$@"\n'


@contextmanager
def browse(net: Net) -> Iterator[Chrome]:
    """A browser in that network, for a `with` block; what it loads and says is kept."""
    with tempfile.TemporaryDirectory(prefix="browser-") as directory:
        program = Path(directory) / "chromium"
        program.write_text(_PROGRAM.format(net.netns))
        program.chmod(0o755)
        options: Any = Options()
        options.binary_location = str(program)
        for argument in (*_ARGUMENTS, f"--user-data-dir={directory}/profile"):
            options.add_argument(argument)
        logs = {"browser": "ALL", "performance": "ALL"}
        options.set_capability("goog:loggingPrefs", logs)
        service = Service("/usr/bin/chromedriver")
        browser = Chrome(service=service, options=options)
        try:
            browser.set_script_timeout(30)
            yield browser
        finally:
            browser.quit()
