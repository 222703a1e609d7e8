"""Tests of both pages in a real browser: they load nothing, and can be used by pointer, by keys and on a phone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from mover.models import UnitFate
from mover.page import plan_page, report_page
from tests.pages.conftest import LOOKS, SHOTS, Opener
from tests.unit.page_builders import PLAN, Story, moved, rolled, rolled_back

BAD: dict[str, UnitFate] = {"ns/a": UnitFate.MOVED, "ns/b": UnitFate.ROLLED_BACK, "ns/c": UnitFate.NOT_BEGUN}
PAGES: dict[str, Callable[[], str]] = {
    "plan": lambda: plan_page(PLAN),
    "moved": moved,
    "rolled-back": rolled_back,
    "rolling": lambda: rolled(BAD.__getitem__),
}
TIMEOUT_S = 60.0
COUNT = 12
"""How many objects the plan has."""
DRAWING = "document.getElementById('graph')._cyreg.cy"


async def visible_names(page: Page) -> list[str]:
    """Returns the names in the drawing that are not faint."""
    return sorted(await page.evaluate(f"{DRAWING}.nodes().not('.faint').map(node => node.data('label'))"))


async def until(page: Page, condition: str) -> None:
    """Waits until an expression is true: what a page does about an event, it may do a moment later.

    Not `wait_for_function`, which needs the `eval` that these pages forbid.
    """
    async with asyncio.timeout(TIMEOUT_S):
        await page.evaluate(f"async () => {{ while (!({condition})) await new Promise(requestAnimationFrame); }}")


async def whole(page: Page) -> bytes:
    """Returns a picture of all of the page."""
    return await page.screenshot(full_page=True)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", PAGES)
async def test_a_page_opens_without_an_error_or_a_request_fits_and_is_accessible(
    pages: Opener, name: str, look: str
) -> None:
    page = await pages.open(PAGES[name](), look)
    await expect(page.get_by_role("status")).to_have_text(f"{COUNT} of {COUNT} objects")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert len(await visible_names(page)) == COUNT
    SHOTS.mkdir(parents=True, exist_ok=True)
    (SHOTS / f"{name}-{look}.png").write_bytes(await whole(page))
    await page.get_by_role("searchbox").fill("a-1")
    await page.get_by_role("searchbox").press("Enter")
    results: Any = await Axe().run(page)
    assert results.response["violations"] == [], results.generate_report()


async def test_what_a_page_would_load_is_forbidden(pages: Opener) -> None:
    page = await pages.open(PAGES["moved"]())
    await page.evaluate(
        "document.addEventListener('securitypolicyviolation', (event) => (window.broken = event.violatedDirective))"
    )
    assert await page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'loaded', () => 'refused')") == "refused"
    assert await page.evaluate("window.broken") == "connect-src"
    pages.faults.clear()


async def test_light_and_dark_follow_the_system_while_the_page_is_open(pages: Opener) -> None:
    page = await pages.open(PAGES["plan"]())
    background = "getComputedStyle(document.body).backgroundColor"
    text = f"{DRAWING}.nodes()[0].style('color')"
    light = [await page.evaluate(background), await page.evaluate(text)]
    assert light == ["rgb(255, 255, 255)", "rgb(27,31,36)"]
    await page.emulate_media(color_scheme="dark")
    await until(page, f"{background} === 'rgb(13, 17, 23)'")
    await until(page, f"{text} === 'rgb(230,237,243)'")


async def test_search_and_filters_narrow_the_list_and_the_drawing(pages: Opener) -> None:
    page = await pages.open(PAGES["rolling"]())
    status = page.get_by_role("status")
    await page.get_by_role("searchbox").fill("NS/B")
    await expect(status).to_have_text(f"3 of {COUNT} objects")
    assert await visible_names(page) == ["Cluster b", "Machine b-1", "Machine b-2"]
    await page.get_by_label("Kind").select_option("Machine")
    await expect(status).to_have_text(f"2 of {COUNT} objects")
    await page.get_by_role("searchbox").fill("")
    await expect(status).to_have_text(f"6 of {COUNT} objects")
    await page.locator("#unit").select_option("ns/c")
    await expect(status).to_have_text(f"2 of {COUNT} objects")
    await page.locator("#unit").select_option("")
    await page.get_by_label("Kind").select_option("")
    await expect(status).to_have_text(f"{COUNT} of {COUNT} objects")
    await page.get_by_label("moves").uncheck()
    await expect(status).not_to_have_text(f"{COUNT} of {COUNT} objects")
    assert "Secret loose" in await visible_names(page)
    assert "Cluster a" not in await visible_names(page)


async def test_a_unit_of_the_timeline_shows_its_objects(pages: Opener) -> None:
    page = await pages.open(PAGES["rolling"]())
    await page.get_by_role("button", name="Cluster b of namespace ns").click()
    assert await visible_names(page) == ["Cluster b", "Machine b-1", "Machine b-2"]
    await page.get_by_role("option", name="ns/b-1").click()
    details = page.locator("#details")
    await expect(details).to_contain_text("It was to move.")
    await expect(details).to_contain_text("Cluster b of namespace ns: rolled back")


async def test_a_click_in_the_drawing_shows_the_path_the_fate_and_the_reason(pages: Opener) -> None:
    page = await pages.open(PAGES["moved"]())
    drawing = page.locator("#graph")
    await drawing.scroll_into_view_if_needed()
    # The drawing learns of the scrolling by an event; clicked before that, it takes the click for one elsewhere.
    await until(
        page,
        f"Math.abs({DRAWING}.renderer().findContainerClientCoords()[1]"
        " - document.getElementById('graph').getBoundingClientRect().top) < 1",
    )
    place = await page.evaluate(
        f"{DRAWING}.nodes().filter(node => node.data('label') === 'Machine a-1')[0].renderedPosition()"
    )
    await drawing.click(position=place)
    details = page.locator("#details")
    await expect(details.get_by_role("heading", level=2)).to_have_text("Machine ns/a-1")
    await expect(details).to_contain_text("It has moved.")
    await expect(details).to_contain_text("It is below Cluster ns/a, which moves.")
    assert await details.locator("ol li").all_inner_texts() == ["Cluster ns/a", "Machine ns/a-1"]
    marked = f"{DRAWING}.nodes('.path').map(node => node.data('label'))"
    assert await page.evaluate(marked) == ["Cluster a"]


async def test_all_can_be_done_with_keys(pages: Opener) -> None:
    page = await pages.open(PAGES["plan"]())
    heading = page.locator("#details h2")
    await page.keyboard.press("/")
    await page.keyboard.type("machine")
    await expect(page.get_by_role("status")).to_have_text(f"6 of {COUNT} objects")
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        await page.keyboard.press(key)
    await expect(heading).to_have_text("Machine ns/a-2")
    await expect(page.locator("#objects [aria-selected=true]")).to_contain_text("ns/a-2")
    await page.keyboard.press("End")
    await page.keyboard.press("Enter")
    await expect(heading).to_have_text("Machine ns/c-2")
    await page.keyboard.press("Tab")
    await expect(page.locator("#graph")).to_be_focused()
    for key, shown in (("ArrowUp", "Machine ns/c-1"), ("ArrowLeft", "Cluster ns/c"), ("ArrowRight", "Machine ns/c-1")):
        await page.keyboard.press(key)
        await expect(heading).to_have_text(shown)
    zoom = f"{DRAWING}.zoom()"
    before = await page.evaluate(zoom)
    await page.keyboard.press("+")
    await until(page, f"{zoom} > {before}")
    await page.keyboard.press("Enter")
    await expect(page.locator("#details")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(heading).to_have_text("Cluster ns/c")
    await expect(page.locator("#details")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("status")).to_have_text(f"{COUNT} of {COUNT} objects")
    await page.keyboard.press("Escape")
    await expect(heading).to_have_count(0)


async def test_the_focus_goes_through_the_page_in_its_order_and_is_seen(pages: Opener) -> None:
    page = await pages.open(PAGES["plan"]())
    seen = []
    for _ in range(10):
        await page.keyboard.press("Tab")
        name, style = await page.evaluate(
            "(at => [at.id || at.value, getComputedStyle(at).outlineStyle])(document.activeElement)"
        )
        seen.append(name)
        assert style != "none", f"the focus is not seen on {name}"
    assert seen == ["search", "kind", "move", "keep", "leave", "objects", "graph", "closer", "farther", "whole"]


async def test_an_object_can_be_linked_to(pages: Opener) -> None:
    uid = next(obj.uid for obj in PLAN.selection.moved if obj.key.name == "a-ca")
    page = await pages.open(PAGES["plan"](), fragment=f"#{uid}")
    await expect(page.locator("#details h2")).to_have_text("Secret ns/a-ca")


async def test_what_stays_is_listed_by_reason_and_leads_to_the_object(pages: Opener) -> None:
    page = await pages.open(PAGES["moved"]())
    stayed = page.locator("#stayed")
    await stayed.locator("summary").filter(has_text="no owner").click()
    await stayed.get_by_role("button", name="Secret ns/loose").click()
    await expect(page.locator("#details h2")).to_have_text("Secret ns/loose")
    await expect(page.locator("#details")).to_be_in_viewport()


async def test_a_page_without_a_graph_opens_too(pages: Opener) -> None:
    page = await pages.open(report_page(Story().chronicler.chronicle(), [], [], KeyboardInterrupt()))
    await expect(page.locator("main")).to_contain_text("Stopped by Ctrl-C")
    await expect(page.locator("main")).to_contain_text("There are no objects to show.")
