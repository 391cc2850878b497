"""The review as a reviewer has it: a real browser, real keys, and a server that is killed."""

from __future__ import annotations

import signal
from urllib.parse import urlsplit

import pytest

import export
from inspector.model.bundle import ModelBundle
from inspector.results.labels import read_decisions
from inspector.scanning import ScanConfig, scan
from inspector.training import TrainConfig, train
from tests.pages import CHROMIUM
from tests.reviewing.live import Page, reviewing
from tests.said import read_labels
from tests.training.conftest import save_scene

TO_LABEL = 20

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


@pytest.fixture(scope="module")
def out(tmp_path_factory, tiny_bundle):
    root = tmp_path_factory.mktemp("walls")
    for k in range(22):
        save_scene(root / "photos" / f"wall-{k:02}.jpg", crack=bool(k % 2), seed=k)
    (root / "photos" / "wall-<b>22.jpg").write_bytes(b"no photo")
    sources = (str(root / "photos"),)
    scan(ScanConfig(sources=sources, out=root / "out", model=tiny_bundle.path, workers=0))
    return root / "out"


def label_by_keys(page, count):
    """What was said about which photo: crack, no crack, in turns; what is no photo is skipped."""
    said = {}
    for k in range(count):
        no_photo = "22.jpg" in page.shown
        said[page.shown] = "unsure" if no_photo else "clear" if k % 2 else "crack"
        page.page.keyboard.press({"unsure": "s", "clear": "n", "crack": "c"}[said[page.shown]])
        page.wait_for_photo()
    page.wait_until_saved()
    return said


def labels_in(out):
    return {row["uri"]: row["label"] for row in read_labels(out).to_pylist()}


def test_label_kill_restart_undo_and_learn(out, browser, tiny_bundle, tmp_path, monkeypatch):
    # An export takes longer than all the rest.
    monkeypatch.setattr(export, "export_bundle", lambda made, *_: ModelBundle.load(made.bundle))
    model = ("--model", str(tiny_bundle.path))
    with reviewing(out, *model) as server:
        page = Page(browser, server.address)
        assert page.progress() == "0 of 23 labelled"
        said = label_by_keys(page, TO_LABEL)
        assert page.progress() == f"{TO_LABEL} of 23 labelled"
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        page.page.keyboard.press("s")
        page.page.wait_for_selector("#toast.bad:has-text('NOT SAVED')")
        assert page.progress() == f"{TO_LABEL} of 23 labelled"
        page.page.close()
    assert labels_in(out) == said
    assert len(said) == TO_LABEL
    with reviewing(out, *model) as server:
        page = Page(browser, server.address)
        assert page.progress() == f"{TO_LABEL} of 23 labelled"
        assert page.shown not in said, "it goes on where it was"
        page.page.keyboard.press("u")
        page.wait_for_photo()
        assert page.shown == list(said)[-1]
        assert labels_in(out) == {uri: said[uri] for uri in list(said)[:-1]}
        page.page.keyboard.press({"unsure": "s", "clear": "n", "crack": "c"}[said[page.shown]])
        page.wait_until_saved()
        assert not page.wrong
        assert page.hosts == {urlsplit(server.address).netloc}
        page.page.close()
    assert labels_in(out) == said
    result = train(
        TrainConfig(
            labels=(out,), out=tmp_path / "bundle", init="random", epochs=1, batch_size=4, size=32,
            device="cpu", workers=0,
        ),
    )  # fmt: skip
    learned = sum(label != "unsure" for label in said.values())
    validated = result.bundle.training["validation"]["images"]
    assert result.trained.history[0].train_images + validated == learned


def test_the_page_shows_what_there_is(out, browser, tiny_bundle):
    with reviewing(out, "--model", str(tiny_bundle.path)) as server:
        page = Page(browser, server.address)
        keys = page.page.keyboard
        assert page.page.is_visible("#peak") == bool(page.page.get_attribute("#peak", "style"))
        keys.press("h")
        page.page.wait_for_selector("#heat", state="visible")
        keys.press("h")
        page.page.wait_for_selector("#heat", state="hidden")
        keys.press("z")
        assert "%" in page.page.text_content("#zoom")
        keys.press("z")
        assert page.page.text_content("#zoom") == "Fit"
        keys.press("?")
        page.page.wait_for_selector("#help[open]")
        keys.press("c")
        keys.press("Escape")
        assert page.page.text_content("#saved") == "all saved"
        keys.press("m")
        box = page.page.locator("#photo").bounding_box()
        page.page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
        page.page.mouse.down()
        page.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.page.mouse.up()
        page.page.wait_for_selector(".region.crack")
        keys.press("t")
        keys.type("c: no key here")
        keys.press("Enter")
        page.wait_until_saved()
        (said,) = [r for r in read_decisions(out).to_pylist() if r["note"] == "c: no key here"]
        assert [(r["label"], r["width"] > 9) for r in said["regions"]] == [("crack", True)]
        page.page.wait_for_function("document.querySelector('#list img').naturalWidth > 0")
        page.page.select_option("select[name=verdict]", "failed")
        page.page.wait_for_selector("#verdict.failed")
        assert page.page.text_content("#file") == "wall-<b>22.jpg"
        page.wait_for_photo()
        assert "nothing to show" in page.page.text_content("#notice")
        keys.press("c")
        page.page.wait_for_selector("#toast:has-text('can only be unsure')")
        page.page.fill("#text", "no such photo")
        page.page.wait_for_selector("#notice:has-text('No photo is like that')")
        assert not page.wrong
        page.page.close()
