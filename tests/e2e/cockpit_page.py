"""The page of vfwhooks in Cockpit, as somebody at a browser sees it and uses it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lab.box import wait_until
from lab.cockpit import PASSWORD
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

_FRAME = "iframe[name='cockpit1:localhost/vfwhooks']"
_INDICATOR = "#super-user-indicator button"
_ASKED = "[role=dialog] input[type=password]"
_TEXT = """\
return [...document.querySelectorAll(arguments[0])].map(one => one.innerText).join(" ")
"""
_FORWARDS = """\
return [...document.querySelectorAll("[data-forward]")].map(one => one.dataset.forward)
"""
_BUTTON = """\
const name = one => one.ariaLabel || one.innerText.trim();
const found = [...document.querySelectorAll(arguments[0])];
return found.find(one => name(one) === arguments[1] && !one.disabled);
"""
# A screenshot of each step is put there, for a look by eye.
_SHOTS = os.environ.get("VFWHOOKS_SHOTS", "")


class Page:
    """A browser that is at Cockpit, or in the frame of our page."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser: Any = browser
        self.url = url
        self.loaded()  # the browser's own first page

    def log_in(self, user: str) -> None:
        """Go to our page as that user, as yet without administrative access."""
        self.browser.switch_to.default_content()
        self.browser.delete_all_cookies()
        self.browser.get(f"{self.url}/vfwhooks")
        self._wait_for("#login-user-input").send_keys(user)
        self._find("#login-password-input").send_keys(f"{PASSWORD}\n")
        self.enter()

    def enter(self) -> None:
        """Into the frame of our page."""
        self.browser.switch_to.default_content()
        self.browser.switch_to.frame(self._wait_for(_FRAME))
        self._wait_for("#vfwhooks > *")

    def become_administrator(self) -> None:
        """Answer Cockpit's question, which our page has had it ask."""
        self.press("Turn on administrative access")
        self.browser.switch_to.default_content()
        self._wait_for(_ASKED).send_keys(f"{PASSWORD}\n")
        self.wait(
            lambda: self._find(_INDICATOR).text == "Administrative access",
            "administrative access",
        )
        self.enter()

    def text(self, selector: str = "body") -> str:
        """What can be read there; "" where there is nothing."""
        text: str = self.browser.execute_script(_TEXT, selector)
        return text

    def all(self, selector: str) -> list[Any]:
        """The elements there are."""
        found: list[Any] = self.browser.find_elements(By.CSS_SELECTOR, selector)
        return found

    def see(self, words: str, selector: str = "body") -> str:
        """What can be read there when these words are among it."""
        self.wait(lambda: words in self.text(selector), f"{words!r} in {selector}")
        return self.text(selector)

    def settled(self) -> None:
        """Wait until everything has been asked that the overview does not say."""
        self.wait(
            lambda: self.all(".picture") and self.all(".findings, .well"),
            "the picture and what doctor has found",
        )

    def press(self, name: str, selector: str = "button") -> None:
        """Click on a button by its name, or the label for those who do not see it."""
        self.wait(lambda: self._press(name, selector), f"a button {name!r}")

    def _press(self, name: str, selector: str) -> bool:
        button = self.browser.execute_script(_BUTTON, selector, name)
        if button:
            button.click()
        return button is not None

    def type_keys(self, *keys: str) -> None:
        """On the keyboard, to whatever has it."""
        for key in keys:
            self.browser.switch_to.active_element.send_keys(key)

    def close_dialogs(self) -> None:
        """Whatever a test before has left open."""
        self.run("document.querySelectorAll('dialog').forEach(one => one.close())")

    def fill(self, **fields: str) -> None:
        """Fields of a dialog."""
        for name, text in fields.items():
            one = self._find(f"dialog [name={name}]")
            if one.tag_name == "input":
                one.clear()
            one.send_keys(text)

    def forwards(self) -> set[str]:
        """All of them: "8080/tcp"."""
        found = self.browser.execute_script(_FORWARDS)
        return set(found)

    def row(self, forward: str) -> str:
        """A forward's row, like "8080/tcp"."""
        return " ".join(self.text(f"[data-forward='{forward}']").split())

    def shot(self, name: str) -> bytes:
        """What the browser shows, as a PNG."""
        taken: bytes = self.browser.get_screenshot_as_png()
        if _SHOTS:
            (Path(_SHOTS) / f"{name}.png").write_bytes(taken)
        return taken

    def run(self, script: str) -> Any:
        """The value of a script on the page."""
        return self.browser.execute_script(f"return {script}")

    def emulate(self, command: str, **arguments: Any) -> None:
        """Another kind of screen."""
        self.browser.execute_cdp_cmd(f"Emulation.{command}", arguments)

    def loaded(self) -> set[str]:
        """The addresses of all that was loaded since the last call."""
        found = set()
        for entry in self.browser.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.add(message["params"]["request"]["url"])
        return {one for one in found if not one.startswith("chrome:")}

    def said(self) -> list[str]:
        """What the browser has said of pages since the last call."""
        return [one["message"] for one in self.browser.get_log("browser")]

    def wait(self, probe: Any, what: str) -> None:
        """Until it is so; what is drawn anew meanwhile is looked at again."""

        last = ""

        def looked() -> object:
            nonlocal last
            try:
                return probe()
            except WebDriverException as error:
                last = str(error.msg)
                return False

        wait_until(looked, lambda: f"{what}; {last}; the page:\n{self.text()}", 40)

    def _find(self, selector: str) -> Any:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def _wait_for(self, selector: str) -> Any:
        self.wait(lambda: self._find(selector).is_displayed(), selector)
        return self._find(selector)
