"""A model in a notebook says of a photo what a scan says, and shows why."""

from __future__ import annotations

import re
import zipfile
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

import inspector
from inspector.errors import DataError, UsageError
from inspector.photos.address import uri_of
from inspector.results.schema import JUDGED_AT, SCHEMA, to_table


@pytest.fixture(scope="module")
def model(room):
    with inspector.Model.load() as model:
        yield model


@pytest.fixture(scope="module")
def rows(room):
    names = [name for name in SCHEMA.names if name != JUDGED_AT]
    table = inspector.Results(room / "both").to_arrow(names)
    return {row["path"].rpartition("/")[2]: row for row in table.to_pylist()}


@pytest.fixture(scope="module")
def found(model, room):
    """All photos, asked for together."""
    paths = [*sorted(room.glob("*/*.jpg")), str(room / "large" / "dense.png")]
    return dict(zip([str(p).rpartition("/")[2] for p in paths], model.predict(paths), strict=True))


def as_row(prediction):
    (row,) = to_table([prediction.row], {}).drop([JUDGED_AT]).to_pylist()
    return row


def test_rows_are_those_of_a_scan_to_the_last_bit(found, rows):
    assert {name: as_row(prediction) for name, prediction in found.items()} == rows
    assert {row["view"] for row in rows.values()} == {"whole", "dense", None}
    assert found["broken.jpg"].verdict is None and found["broken.jpg"].regions == ()


@pytest.mark.parametrize("name", ["large/dense.png", "photos/crack.jpg", "large/turned.jpg"])
def test_images_and_pixels_have_the_answers_of_their_file(model, room, rows, name):
    row = rows[name.rpartition("/")[2]]
    with Image.open(room / name) as image:
        image.load()
    upright = np.rot90(np.asarray(image), -1) if name.endswith("turned.jpg") else np.asarray(image)
    answers = model.predict([image, upright, name])
    for prediction in answers:
        values = as_row(prediction)
        assert (values["verdict"], values["p_crack"]) == (row["verdict"], row["p_crack"])
        assert len(prediction.regions) == len(row["regions"] or ())
    assert prediction.row["uri"] == row["uri"]
    width, height = answers[0].photo().size
    assert (width, height) == (row["width"], row["height"])


@pytest.mark.parametrize(
    "photo", [np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8),
              None, "photos"],
    ids=["floats", "two channels", "empty", "nothing", "folder"],
)  # fmt: skip
def test_what_is_no_photo_is_refused(model, room, photo):
    with pytest.raises(UsageError):
        model.predict([photo])


def test_what_holds_several_photos_is_refused(model, room):
    """Of an archive, a photo in it is judged by its name there."""
    with zipfile.ZipFile(room / "packed.zip", "w") as archive:
        archive.write(room / "photos" / "clear.jpg", "a/clear.jpg")
        archive.write(room / "photos" / "crack.jpg", "crack.jpg")
    with zipfile.ZipFile(room / "void.zip", "w"):
        pass
    uri = uri_of(str(room / "packed.zip"))
    for several in (
        "packed.zip", room / "packed.zip", uri, "void.zip", uri_of(str(room / "photos")),
        "s3://bucket/photos/", "s3://bucket/photos.zip", "https://127.0.0.1:9/photos.zip",
    ):  # fmt: skip
        with pytest.raises(UsageError, match=r"no photo but holds them.*inspector\.scan"):
            model.predict(several)
    with pytest.raises(UsageError, match=r"packed\.zip!/NAME"):
        model.predict("packed.zip")
    for one in ("packed.zip!/crack.jpg", f"{uri}!/crack.jpg"):
        assert model.predict(one).verdict == "crack"


def test_a_truncated_image_is_a_failure(model, room):
    data = (room / "photos" / "crack.jpg").read_bytes()
    (room / "cut.jpg").write_bytes(data[: len(data) // 2])
    cut = Image.open(BytesIO(data[: len(data) // 2]))
    assert model.predict(cut).failure_code == "corrupt"
    assert model.predict(str(room / "cut.jpg")).failure_code == "truncated"


def test_a_notebook_shows_the_photo_and_why(model, found, room):
    html = found["dense.png"]._repr_html_()
    assert html.startswith('<figure><img src="data:image/jpeg;base64,')
    assert re.search(r"\d regions?, dense", html)
    assert "not judged: not_an_image" in found["broken.jpg"]._repr_html_()
    strange = room / "<b>.jpg"
    strange.write_bytes((room / "photos" / "crack.jpg").read_bytes())
    shown = model.predict(strange)
    assert "<b>" not in shown._repr_html_()
    strange.write_bytes((room / "photos" / "clear.jpg").read_bytes())
    assert "changed since it was judged" in shown._repr_html_()
    with pytest.raises(DataError):
        shown.photo()


def test_plot_draws_heat_and_regions_in_pixels(found):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    ax = found["dense.png"].plot()
    assert len(ax.images) == 2 and len(ax.patches) == 2 * len(found["dense.png"].regions) > 0
    assert ax.get_xlim() == (-0.5, 599.5)
    assert len(found["crack.jpg"].plot(ax).images) == 4
    matplotlib.pyplot.close(ax.figure)
