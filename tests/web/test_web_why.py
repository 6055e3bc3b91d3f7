"""*Why here?* and channels' pages."""

from __future__ import annotations

import io

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from partscope.dataset import PartDataset
from partscope.explanation import explain
from partscope.images import load_image
from partscope.web import Session
from partscope.web.why import picture_of
from web_sessions import FoundSession, id_of, name_parts

pytestmark = pytest.mark.filterwarnings("ignore::partscope.errors.PartscopeWarning")


def test_before_anything_is_learned_it_says_so(
    client: TestClient, session: Session, animals: PartDataset
) -> None:
    key, *_ = name_parts(session, animals)
    answer = client.get(f"/api/why/{id_of(session, animals[9])}/{key}")
    assert answer.status_code == 422
    assert "find parts first" in answer.json()["error"]
    assert client.get("/api/channels/1/0").status_code == 422


def test_the_page_tells_what_explain_tells(searched: FoundSession) -> None:
    client, session, animals, keys = searched.client, searched.session, searched.animals, searched.keys
    sample, key = animals[10], keys[0]
    assert session.learner.detector is not None
    expected = explain(session.learner.detector, load_image(sample.image), animals.parts[0], count=6)
    answer = client.get(f"/api/why/{id_of(session, sample)}/{key}").json()
    assert answer["point"] == pytest.approx(expected.point.tolist())
    assert answer["frame"] == [0, 0, *sample.size]
    assert [(one["layer"], one["channel"]) for one in answer["channels"]] == [
        (one.layer, one.channel) for one in expected.channels
    ]
    image = client.get(f"/api/why/{id_of(session, sample)}/{key}/evidence.png")
    assert Image.open(io.BytesIO(image.content)).mode == "RGBA"
    assert client.get(f"/api/why/{id_of(session, sample)}/{key}/channel-5.png").status_code == 200
    assert client.get(f"/api/why/{id_of(session, sample)}/{key}/channel-6.png").status_code == 422
    assert client.get(f"/api/why/{id_of(session, sample)}/p999/evidence.png").status_code == 422


def test_three_ways_are_compared(searched: FoundSession) -> None:
    client, session, animals, keys = searched.client, searched.session, searched.animals, searched.keys
    id = id_of(session, animals[10])
    ways = client.get(f"/api/why/{id}/{keys[3]}/ways").json()["ways"]
    assert [way["name"] for way in ways] == ["linear", "activation", "gradient"]
    width, height = animals[10].size
    for way in ways:
        if way["point"] is not None:
            assert 0 <= way["point"][0] <= width
            assert 0 <= way["point"][1] <= height
        assert (
            client.get(f"/api/why/{id}/{keys[3]}/way-{way['name']}.png").headers["content-type"]
            == "image/png"
        )
    assert client.get(f"/api/why/{id}/{keys[3]}/way-other.png").status_code == 422


def test_a_channels_page_shows_the_pictures_that_excite_it_most(searched: FoundSession) -> None:
    client, session, animals = searched.client, searched.session, searched.animals
    detector = session.learner.detector
    assert detector is not None
    answer = client.get("/api/channels/3/7").json()
    values, places = {}, {}
    for sample in animals:
        maps, _ = detector._maps(load_image(sample.image), None)
        channel = maps[1][7].numpy()
        values[sample.id] = channel.max()
        y, x = np.unravel_index(channel.argmax(), channel.shape)
        places[sample.id] = [(x + 0.5) / channel.shape[1], (y + 0.5) / channel.shape[0]]
    order = sorted(values, key=lambda name: -values[name])
    assert answer["looked"] == answer["of"] == len(animals)
    assert [entry["value"] for entry in answer["pictures"]] == pytest.approx(
        [values[name] for name in order], rel=1e-3
    )
    top = answer["pictures"][0]
    assert top["place"] == pytest.approx(places[top["name"]], abs=1e-3)
    assert client.get("/api/channels/3/16").status_code == 422
    assert client.get("/api/channels/nothing/0").status_code == 422


def test_a_map_is_lightest_where_it_is_strongest() -> None:
    field = np.zeros((8, 8))
    field[2, 5] = 3.0
    pixels = np.asarray(Image.open(io.BytesIO(picture_of(field)))).astype(float)
    y, x = np.unravel_index(pixels[..., 3].argmax(), pixels.shape[:2])
    assert (x * 8 // pixels.shape[1], y * 8 // pixels.shape[0]) == (5, 2)
    assert pixels[-1, 0, 3] == 0
    signed = np.asarray(Image.open(io.BytesIO(picture_of(-field, signed=True)))).astype(float)
    assert signed[y, x, 2] > signed[y, x, 0], "what speaks against a part is blue"
    assert not np.asarray(Image.open(io.BytesIO(picture_of(np.full((4, 4), np.nan)))))[..., 3].any()
