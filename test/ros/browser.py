"""Debian's Chromium without a screen, driven by selenium."""

import shutil
from contextlib import contextmanager

import pytest
from selenium import webdriver

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs a browser: apt install chromium chromium-driver"
)


@contextmanager
def browser():
    """A browser that is ended at the end."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,1600"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def text(driver) -> str:
    """All that is written on the page."""
    return driver.execute_script("return document.body.innerText")


def press(driver, label: str) -> None:
    """Click a button."""
    buttons = driver.find_elements("css selector", "button")
    next(b for b in buttons if b.text.strip().lower() == label).click()
