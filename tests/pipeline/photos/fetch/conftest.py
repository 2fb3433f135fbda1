"""Two servers on this machine that behave as the two APIs do, well or badly, as a test asks."""

import io
import json
import math
import re
import threading
from collections import Counter, defaultdict, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

KEY = "SECRET+key/9f3c=="  # has what a query must escape
LAT, LON = 51.5, -0.1
METRE_UP = 1 / 111_195
METRE_EAST = METRE_UP / math.cos(math.radians(LAT))


def picture(name):
    rng = np.random.default_rng(sum(map(ord, name)))
    small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    stream = io.BytesIO()
    small.resize((64, 64), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


class Server:
    """What both have in common: faults on order, and a record of what was asked and what was served whole."""

    def __init__(self):
        self.faults = defaultdict(deque)  # kind → behaviours for the next requests of that kind
        self.always = {}  # kind → behaviour from now on
        self.asked, self.served, self.keyless = [], Counter(), []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or every answer waits 40 ms for an acknowledgement

            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self):
        self._http.shutdown()
        self._http.server_close()

    def answer(self, handler):
        parts = urlsplit(handler.path)
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        kind, name = self.kind(parts.path, query)
        self.asked.append((kind, name, query))
        behaviour = self.faults[kind].popleft() if self.faults[kind] else self.always.get(kind, "well")
        if behaviour == "well" and not self.has_key(kind, query, handler.headers):
            behaviour = "expired"
        status, body, headers = 200, b"", {}
        if behaviour.startswith(("429", "500", "503")):
            status, _, wait = behaviour.partition(":")
            status, headers = int(status), {"Retry-After": wait} if wait else {}
            body = f"slow down, {KEY}".encode()
        elif behaviour == "hang up":
            handler.close_connection = True
            return
        elif behaviour == "expired":
            status, body = self.expired(kind)
        else:
            status, body = self.well(kind, name, query)
            if behaviour == "cut picture":
                body = body[: len(body) // 2]
        handler.send_response(status)
        for header, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(header, value)
        handler.end_headers()
        if behaviour == "truncated":
            handler.wfile.write(body[: len(body) // 2])
            handler.wfile.flush()
            handler.close_connection = True
            return
        handler.wfile.write(body)
        if behaviour == "well" and status == 200:
            self.served[kind, name] += 1


class GoogleServer(Server):
    """Panoramas every 40 m along a road from west to east, a little beside its line."""

    def __init__(self):
        super().__init__()
        self.panoramas = {f"pano_{i}-x": (LAT + 2 * METRE_UP, LON + 40 * i * METRE_EAST) for i in range(10)}
        self.away = {"off_road": (LAT + 200 * METRE_UP, LON)}
        self.empty = False

    def kind(self, path, query):
        return ("look", query["location"]) if path.endswith("/metadata") else ("picture", query.get("pano", ""))

    def has_key(self, kind, query, headers):
        return query.get("key") == KEY

    def expired(self, kind):
        if kind == "look":
            return 200, json.dumps({"status": "REQUEST_DENIED", "error_message": f"The key {KEY} is expired."}).encode()
        return 403, f"The provided API key {KEY} is expired.".encode()

    def well(self, kind, name, query):
        if kind == "picture":
            return (200, picture(name)) if name in self.panoramas else (404, b"")
        lat, lon = map(float, name.split(","))

        def distance(place):
            return math.hypot((place[0] - lat) / METRE_UP, (place[1] - lon) / METRE_EAST)

        pano, place = min((self.panoramas | self.away).items(), key=lambda item: distance(item[1]))
        if self.empty or distance(place) > float(query["radius"]):
            return 200, b'{"status": "ZERO_RESULTS"}'
        body = {"status": "OK", "pano_id": pano, "location": {"lat": place[0], "lng": place[1]}}
        return 200, json.dumps({**body, "date": "2018-07", "copyright": "© Google"}).encode()


class MapillaryServer(Server):
    """Photographs every 20 m along the road; their cameras look by turns along it, left of it, and right of it."""

    def __init__(self):
        super().__init__()
        self.photos = {str(1000 + i): (LAT, LON + 20 * i * METRE_EAST, (90, 0, 180)[i % 3]) for i in range(20)}
        self.generation = 0
        self.expire_at_once = False

    def kind(self, path, query):
        if path == "/images":
            return "look", query["bbox"]
        if path.startswith("/thumb/"):
            return "picture", path.split("/")[3]
        return "address", path[1:]

    def has_key(self, kind, query, headers):
        if kind == "picture":
            self.keyless.append("Authorization" not in headers and KEY not in str(query))
            return True
        return headers.get("Authorization") == f"OAuth {KEY}"

    def expired(self, kind):
        error = {"message": f"Error validating access token {KEY}: session has expired", "code": 190}
        return (403, b"URL signature expired") if kind == "picture" else (401, json.dumps({"error": error}).encode())

    def thumb(self, photo):
        return f"{self.address}/thumb/{self.generation}/{photo}"

    def well(self, kind, name, query):
        if kind == "picture":
            generation = int(re.search(r"/thumb/(\d+)/", self.last_path)[1])
            return (200, picture(name)) if generation == self.generation else (403, b"URL signature expired")
        if kind == "address":
            if name not in self.photos:
                return 404, b'{"error": {"message": "Unsupported get request", "code": 100}}'
            return 200, json.dumps({"id": name, "thumb_1024_url": self.thumb(name)}).encode()
        west, south, east, north = map(float, name.split(","))
        if east - west >= 0.01 or north - south >= 0.01:
            return 400, b'{"error": {"message": "bbox is too large", "code": 100}}'
        data = [
            {
                "id": photo,
                "geometry": {"type": "Point", "coordinates": [lon, lat]},
                "computed_compass_angle": angle + 3.5,
                "captured_at": 1531526400000,
                "camera_type": "perspective",
                "creator": {"username": f"person <{photo}>", "id": "1"},
                "thumb_1024_url": self.thumb(photo),
            }
            for photo, (lat, lon, angle) in self.photos.items()
            if west <= lon <= east and south <= lat <= north
        ]
        answer = 200, json.dumps({"data": data}).encode()
        self.generation += self.expire_at_once
        return answer

    def answer(self, handler):
        self.last_path = handler.path
        super().answer(handler)


@pytest.fixture
def google_server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = GoogleServer()
    yield server
    server.close()


@pytest.fixture
def mapillary_server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = MapillaryServer()
    yield server
    server.close()


@pytest.fixture
def key():
    return KEY


@pytest.fixture
def roads(tmp_path):
    """A GeoJSON with the road of both servers, west to east."""
    line = [[LON - 0.001, LAT], [LON + 400 * METRE_EAST, LAT]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "LineString", "coordinates": line}}
    path = tmp_path / "roads.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return path
