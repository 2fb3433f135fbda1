"""What a person does with the page, in a real Chromium: by mouse, keyboard and touch, over HTTP and from disk."""

import re
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
TITLE = "Streets <script>document.title = 'run'</script> & <b>houses</b>"


def test_the_first_street_is_there_at_once(visit, http):
    page = visit().open(http)
    page.shows()
    assert page.page.locator("#still").is_hidden()
    assert page.page.locator("#status").inner_text() == ""


def test_each_axis_by_mouse_shows_its_own_right_image(visit, http):
    page = visit().open(http)
    seen = [page.shows()]
    for axis in ("health", "income", "education"):
        page.drag(axis, 1.0)
        seen.append(page.shows(**{axis: 2}))
        page.drag(axis, 0.0)
        seen.append(page.shows(**{axis: -2}))
        page.page.locator("#reset").click()
        page.shows()
    different = {pixels.tobytes() for pixels in seen}
    assert len(different) == 7


def test_all_three_together(visit, http):
    page = visit().open(http)
    page.drag("health", 0.0)
    page.drag("income", 1.0)
    page.drag("education", 0.25)
    page.shows(health=-2, income=2, education=-1)


@pytest.mark.parametrize("axis", ["health", "income", "education"])
def test_by_keyboard(visit, http, axis):
    page = visit().open(http)
    page.slider(axis).focus()
    for key, step in (
        ("ArrowRight", 1),
        ("ArrowUp", 2),
        ("ArrowRight", 2),
        ("Home", -2),
        ("ArrowLeft", -2),
        ("End", 2),
        ("ArrowDown", 1),
        ("PageDown", 0),
        ("PageUp", 1),
    ):
        page.page.keyboard.press(key)
        page.shows(**{axis: step})


def test_everything_can_be_reached_by_tab_and_is_seen_to_have_focus(visit, http):
    page = visit().open(http)
    page.shows()
    order = []
    for _ in range(6):
        page.page.keyboard.press("Tab")
        focus = page.page.locator(":focus").evaluate("e => [e.id || e.className, getComputedStyle(e).outlineStyle]")
        order.append(focus[0])
        assert focus[1] != "none" or focus[0] == "skip"
        if focus[0] == "change-street":
            break
    assert order == ["skip", "health", "income", "education", "change-street"]
    page.page.keyboard.press("Enter")
    page.shows(street=1)


@pytest.mark.parametrize("axis", ["health", "income", "education"])
def test_by_touch(visit, http, axis):
    page = visit(**PHONE).open(http)
    page.shows()
    slider = page.slider(axis)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    y = box["y"] + box["height"] / 2
    page.page.touchscreen.tap(box["x"] + box["width"] - 4, y)
    page.shows(**{axis: 2})
    finger = page.page.context.new_cdp_session(page.page)

    def touch(kind, *points):
        points = [{"x": x, "y": y} for x in points]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", box["x"] + box["width"] - 14)
    for share in (0.8, 0.6, 0.4, 0.2, 0.02):
        touch("touchMove", box["x"] + share * box["width"])
    touch("touchEnd")
    page.shows(**{axis: -2})


def test_change_street_and_back(visit, http):
    page = visit().open(http)
    page.drag("health", 1.0)
    page.page.locator("#change-street").click()
    page.shows(street=1, health=2)
    assert page.page.locator("#street-name").inner_text() == "b&b=ü <i>"
    page.page.locator("#change-street").click()
    page.shows(street=2, health=2)
    page.page.locator("#change-street").click()
    page.shows(street=0, health=2)
    page.page.go_back()
    page.shows(street=2, health=2)


@pytest.mark.parametrize("where", ["http", "file"])
def test_a_link_restores_what_was_seen(visit, where, request):
    address = request.getfixturevalue(where)
    page = visit().open(address)
    page.page.locator("#change-street").click()
    page.slider("health").focus()
    page.page.keyboard.press("End")
    page.slider("education").focus()
    page.page.keyboard.press("ArrowLeft")
    page.page.wait_for_url(re.compile("education=-1"))
    assert page.page.url.endswith("#street=b%26b%3D%C3%BC%20%3Ci%3E&health=2&income=0&education=-1")
    again = visit().open(page.page.url)
    again.page.locator("#canvas[data-sharp=true]").wait_for()
    assert [again.slider(axis).input_value() for axis in ("health", "income", "education")] == ["2", "0", "-1"]
    assert again.page.locator("#street-number").inner_text() == "2"
    if where == "http":
        again.shows(street=1, health=2, education=-1)


def test_a_link_that_is_followed_on_the_open_page(visit, http):
    page = visit().open(http)
    page.page.evaluate("location.hash = '#street=3&income=-2'")
    page.shows(street=2, income=-2)


@pytest.mark.parametrize("link", ["#street=nobody", "#health=99", "#health=x", "#street=%E0%A4%A"])
def test_a_bad_link_shows_the_first_street_and_says_so(visit, http, link):
    page = visit().open(http + link)
    page.shows()
    assert "names no picture" in page.page.locator("#status").inner_text()
    page.page.wait_for_url(re.compile("health=0"))


def test_from_disk_it_looks_the_same(visit, http, file):
    for link in ("", "#street=3&health=-2&income=1&education=2", "#street=seed%201&health=1"):
        shots = []
        for address in (http, file):
            page = visit().open(address + link)
            page.page.locator("#canvas[data-sharp=true]").wait_for()
            page.page.locator("#matrix").wait_for()
            shots.append([page.page.locator(part).screenshot() for part in ("#canvas", ".viewer", "#matrix")])
        assert shots[0] == shots[1]


def test_from_disk_sliders_and_streets_work(visit, file):
    page = visit().open(file)
    shots = set()
    for axis in ("health", "income", "education"):
        page.drag(axis, 1.0)
        page.page.locator(f"#canvas[data-view*='{axis}=2'][data-sharp=true]").wait_for()
        shots.add(page.page.locator("#canvas").screenshot())
    page.page.locator("#change-street").click()
    page.page.locator("#canvas[data-view*='b%26b'][data-sharp=true]").wait_for()
    shots.add(page.page.locator("#canvas").screenshot())
    assert len(shots) == 4


def test_words_follow_the_sliders(visit, http):
    page = visit().open(http)
    slider = page.slider("income")
    assert slider.get_attribute("aria-valuetext") == "as in the original"
    slider.focus()
    page.page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "2 steps more deprived than the original"
    assert page.page.locator("#income-value").inner_text() == "−2 more deprived"
    page.shows(income=-2)
    label = page.page.locator("#canvas").get_attribute("aria-label")
    assert "Income: 2 steps more deprived than the original" in label
    assert "Far" in page.page.locator("body").inner_text()
    assert page.page.locator("#typicality").inner_text().startswith("A usual picture")
    for axis in ("health", "education"):
        page.slider(axis).focus()
        page.page.keyboard.press("End")
    page.shows(health=2, income=-2, education=2)
    assert page.page.locator("#typicality").get_attribute("data-word") == "unknown"


def test_the_live_region_speaks_when_a_change_is_over(visit, http):
    page = visit().open(http)
    status = page.page.locator("#status")
    page.drag("health", 1.0, release=False)
    page.shows(health=2)
    assert status.inner_text() == ""
    page.page.mouse.up()
    assert status.inner_text().startswith("Street 1 of 3. Health: 2 steps less deprived than the original.")
    assert page.page.locator("[aria-live=polite]").count() == 1


def test_the_table_follows_the_street_and_opens_its_pictures(visit, http, built):
    page = visit().open(http)
    page.page.locator("#change-street").click()
    page.page.locator("#matrix image[href*='a/1/key']").first.wait_for()
    assert page.page.locator("#matrix-street").inner_text() == "2"
    cell = page.page.get_by_role("img", name="Education: 2 steps more deprived than the original")
    assert page.page.locator("#matrix").get_by_role("img").count() == 9
    assert looks_like(cell.screenshot(), built.archive.image(base=1, education=-2))
    cell.click()
    page.shows(street=1, education=-2)
    page.page.locator("[data-street='3']").click()
    page.shows(street=2)
    assert page.page.locator("[aria-current]").get_attribute("data-street") == "3"


def looks_like(png, image):
    """Whether a screenshot is this picture, scaled up."""
    import io

    from PIL import Image

    shot = np.asarray(Image.open(io.BytesIO(png)).convert("RGB").resize(image.shape[:2], Image.Resampling.BOX))
    return np.abs(shot.astype(int) - image).mean() < 10


def test_a_thumbnail_comes_first_and_the_newest_request_wins(visit, http):
    page = visit()
    held = []
    page.page.route(re.compile(r"sheet-\d"), lambda route: held.append(route))
    page.open(http, until="commit")
    page.shows()  # the original needs no sheet
    page.slider("health").focus()
    page.page.keyboard.press("Home")
    rough = page.shows(health=-2, sharp=False)
    assert page.nearest(rough, within=20) == (0, -2, 0, 0)
    page.page.keyboard.press("End")
    page.shows(health=2, sharp=False)
    for route in held:
        route.continue_()
    page.page.unroute_all()
    page.shows(health=2)


def test_a_picture_that_does_not_come_is_said_and_tried_again(visit, http):
    page = visit(silent=False)
    page.page.route(re.compile(r"sheet-\d"), lambda route: route.abort())
    page.open(http)
    page.slider("income").focus()
    page.page.keyboard.press("End")
    page.page.get_by_text("A picture did not arrive").wait_for()
    page.page.unroute_all()
    page.page.keyboard.press("ArrowLeft")
    page.shows(income=1)


@pytest.mark.parametrize("where", ["http", "file"])
def test_without_javascript(visit, where, request):
    page = visit(java_script_enabled=False).open(request.getfixturevalue(where))
    still = page.page.locator("#still")
    assert still.is_visible()
    box = still.bounding_box()
    assert box["width"] > 200
    assert page.page.locator("noscript .note").is_visible()
    assert not page.page.locator(".controls").is_visible()
    for words in ("What you are looking at", "goes together", "0.65", "Knuutila (2023), Table 1"):
        assert page.page.get_by_text(words).first.is_visible()


def test_the_still_picture_without_javascript_is_the_original(visit, http, built):
    page = visit(java_script_enabled=False).open(http)
    assert looks_like(page.page.locator("#still").screenshot(), built.archive.image())
    cell = page.page.get_by_role("img", name="Health: 2 steps less deprived than the original")
    assert looks_like(cell.screenshot(), built.archive.image(health=2))


@pytest.mark.parametrize("width", [320, 360, 768, 1280, 1920])
def test_no_width_scrolls_sideways(visit, http, width):
    page = visit(viewport={"width": width, "height": 740}).open(http)
    page.shows()
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width
    for part in ("#canvas", "#health", "#change-street", "#matrix"):
        box = page.page.locator(part).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


@pytest.mark.parametrize("width", [1100, 1200])
def test_the_tables_fit_without_scrolling(visit, http, width):
    page = visit(viewport={"width": width, "height": 900}).open(http).page
    boxes = page.locator(".scroll")
    assert boxes.count() == 8
    for box in boxes.all():
        inside, outside = box.evaluate("b => [b.scrollWidth, b.clientWidth]")
        assert inside <= outside


def test_on_a_phone_the_picture_and_all_sliders_fit_on_one_screen(visit, http):
    page = visit(**PHONE).open(http)
    top = page.page.locator("#canvas").bounding_box()["y"]
    bottom = page.page.locator("#education").bounding_box()
    assert bottom["y"] + bottom["height"] - top <= 740
    for control in ("#health", "#change-street", "#reset"):
        assert page.page.locator(control).bounding_box()["height"] >= 44


def test_a_title_with_a_script_in_it_stays_text(visit, http):
    page = visit().open(http)
    page.shows()
    assert page.page.locator("h1").inner_text() == TITLE
    assert page.page.title() == TITLE
    assert page.page.locator("script:not([src])").count() == 0
    assert page.page.locator("footer").get_by_text("Drawn <here>").is_visible()


def test_nothing_but_the_site_is_asked_for_and_no_file_twice(visit, http):
    page = visit().open(http)
    page.shows()
    page.drag("health", 1.0)
    page.shows(health=2)
    assert all(url.startswith(http) for url in page.asked)
    once = [url for url in page.asked if "/original." not in url]  # the page's icon too
    assert sorted(set(once)) == sorted(once)


def test_dark_and_light(visit, http):
    grounds = set()
    for scheme in ("light", "dark"):
        page = visit(color_scheme=scheme).open(http)
        grounds.add(page.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2


def test_colours_can_be_read():
    """Every colour of text against the wall: at least 4.5 to 1, in both schemes (WCAG 2.2, 1.4.3)."""
    css = (Path(__file__).resolve().parents[2] / "templates" / "atlas.css").read_text()
    schemes = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): #(\w{6});", scheme))
        for text in ("ink", "quiet", "more", "less"):
            for ground in ("wall", "panel"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
