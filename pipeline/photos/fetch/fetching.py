"""Fetching photographs into a folder, so that a fetch that was stopped anyhow goes on where it was."""

from __future__ import annotations

import csv
import io
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atlas.errors import InputError
from atlas.faults import fault_point
from atlas.files import read_json, remove_partials, sha256_bytes, write_bytes, write_json, write_text
from atlas.progress import Progress, silent
from pipeline.photos.fetch import google, mapillary
from pipeline.photos.fetch.google import Google, GoogleOptions
from pipeline.photos.fetch.journal import Journal, open_journal
from pipeline.photos.fetch.mapillary import Mapillary
from pipeline.photos.fetch.picture import require_picture
from pipeline.photos.fetch.provider import Found, Provider
from pipeline.photos.fetch.request import FetchRequest, plan
from pipeline.photos.fetch.roads import Roads
from pipeline.photos.fetch.web import BudgetError, FailedError, FetchError, Web

PLAN, TABLE, ACQUISITION, IMAGES = "fetch.json", "photos.csv", "acquisition.json", "images"
COLUMNS = ("file", "lat", "lon", "taken", "heading", "provider", "photo_id", "licence", "contributor", "page")
KEY_VARIABLES = {"google": google.KEY_VARIABLE, "mapillary": mapillary.KEY_VARIABLE}
ENDPOINTS = {"google": google.ENDPOINT, "mapillary": mapillary.ENDPOINT}
_FAILURES_IN_A_ROW = 5


@dataclass(frozen=True)
class Outcome:
    """What a fetch has come to.

    Attributes:
        points: how many places there are to look at.
        looked: at how many it has looked.
        empty: how many of those had nothing to offer that was not chosen before.
        photographs: how many files there are.
        gone: how many no longer exist at their source.
        requests: how many this run sent.
        finished: whether all is done; if not, the budget was used up.
    """

    points: int
    looked: int
    empty: int
    photographs: int
    gone: int
    requests: int
    finished: bool


def fetch(
    request: FetchRequest,
    out: Path,
    key: str,
    *,
    rate: float = 5.0,
    max_requests: int | None = None,
    endpoint: str = "",
    sleep: Callable[[float], None] = time.sleep,
    progress: Progress = silent,
) -> Outcome:
    """Look at every point of a request and fetch what is chosen there into the folder ``out``.

    ``out`` gets ``images/ID.jpg``, ``photos.csv`` as `atlas dataset import` reads it (with heading, licence and
    contributor of each photograph), and ``acquisition.json`` (terms, permission, how points were drawn, counts).
    Whatever ends a fetch, those three agree and the same call goes on from there.

    Args:
        request: what is wanted; must be that of earlier calls for the same folder.
        out: folder.
        key: of the API; goes into no file, log or error.
        rate: requests a second, at most.
        max_requests: budget of this call; None for no limit.
        endpoint: address of the API, if not the usual one.
        sleep: waits.
        progress: is told how many points are done.

    Raises:
        InputError: a file that cannot be used, or a folder of another fetch.
        FetchError: the source refuses, or some requests failed; what was fetched is there.
    """
    if not key:
        raise InputError(f"no key: put it in the environment as {KEY_VARIABLES[request.source]}")
    points, roads = plan(request)
    _claim(out, {**request.record(), "points_sha256": sha256_bytes(points.astype("<f8").tobytes())})
    with open_journal(out) as journal, Web(key, rate=rate, max_requests=max_requests, sleep=sleep) as web:
        remove_partials(out)
        provider = _provider(request, web, key, roads, endpoint or ENDPOINTS[request.source])
        work = _Work(provider, journal, out / IMAGES, request.per_point)
        finished = True
        try:
            work.run(points, progress)
        except BudgetError:
            finished = False
        finally:
            outcome = _outcome(journal, len(points), web.requests, finished)
            _write_tables(out, journal, provider, request, outcome)
    return outcome


def _claim(out: Path, record: dict[str, Any]) -> None:
    """See that ``out`` is new, or of a fetch of exactly this request."""
    path = out / PLAN
    if path.is_file():
        earlier = read_json(path)
        if earlier != record:
            differing = [k for k in record if not isinstance(earlier, dict) or earlier.get(k) != record[k]]
            raise InputError(
                f"{out} holds a fetch with other settings ({', '.join(differing) or 'more of them'}): "
                "give the same ones to go on with it, or another --out"
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out} is not empty and holds no fetch: give another --out")
    write_json(path, record)


def _provider(request: FetchRequest, web: Web, key: str, roads: Roads | None, endpoint: str) -> Provider:
    if isinstance(request.options, GoogleOptions):
        if roads is None:
            raise InputError("Google's metadata holds no direction of travel: give road lines with --roads")
        return Google(web, key, roads, request.options, endpoint)
    return Mapillary(web, key, roads, request.options, endpoint)


class _Work:
    """The loop over points, and how much may fail before it stops."""

    def __init__(self, provider: Provider, journal: Journal, images: Path, per_point: int) -> None:
        self._provider, self._journal, self._images, self._per_point = provider, journal, images, per_point
        self._claimed = journal.claimed()
        self._failed, self._asking = 0, ""
        self._in_a_row: Counter[str] = Counter()  # failures since the last success, by what was asked for

    def run(self, points: np.ndarray, progress: Progress) -> None:
        fault = ""
        for number, (lat, lon) in enumerate(points.tolist()):
            try:
                self._point(number, lat, lon)
            except FailedError as error:
                fault = str(error)
                self._failed += 1
                self._in_a_row[self._asking] += 1
                if self._in_a_row[self._asking] == _FAILURES_IN_A_ROW:
                    raise FetchError(
                        f"{_FAILURES_IN_A_ROW} requests in a row failed, the last one with: {fault}; "
                        "what was fetched is kept: run the same command again to go on"
                    ) from None
            progress(number + 1, len(points))
        if self._failed:
            raise FetchError(
                f"at {self._failed} of {len(points)} points a request failed, the last one with: {fault}; "
                "the rest is there: run the same command again to try these once more"
            )

    def _point(self, number: int, lat: float, lon: float) -> None:
        if number not in self._journal.looks:
            self._asking = "look"
            offered = self._provider.look(lat, lon)
            self._in_a_row["look"] = 0
            new = [found for found in offered if found.id not in self._claimed][: self._per_point]
            self._journal.looked(number, new)
            self._claimed.update(found.id for found in new)
            fault_point("fetch.look")
        for found in self._journal.looks[number]:
            if found.id not in self._journal.have and found.id not in self._journal.gone:
                self._photograph(found)

    def _photograph(self, found: Found) -> None:
        file = self._images / file_name(found)
        if not _is_whole(file):  # it is, where a run was killed between file and journal
            self._asking = "photograph"
            data = self._provider.photograph(found)
            self._in_a_row["photograph"] = 0
            if data is None:
                self._journal.is_gone(found.id)
                return
            write_bytes(file, data)
            fault_point("fetch.photograph")
        self._journal.got(found.id)


def file_name(found: Found) -> str:
    """Return the name of a photograph's file; its id was checked to hold only letters, digits, "-" and "_"."""
    return f"{found.id}.jpg"


def _is_whole(file: Path) -> bool:
    try:
        require_picture(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    return True


def _outcome(journal: Journal, points: int, requests: int, finished: bool) -> Outcome:
    empty = sum(not found for found in journal.looks.values())
    return Outcome(points, len(journal.looks), empty, len(journal.have), len(journal.gone), requests, finished)


def _write_tables(out: Path, journal: Journal, provider: Provider, request: FetchRequest, outcome: Outcome) -> None:
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(COLUMNS)
    for number in sorted(journal.looks):
        for found in journal.looks[number]:
            if found.id in journal.have:
                rows.writerow(_row(found, provider))
    terms = provider.terms
    record = request.record()
    acquisition = {
        "provider": provider.name,
        "licence": terms.licence,
        "attribution": terms.attribution,
        "terms": terms.summary,
        "terms_address": terms.address,
        "permission": record.pop("permission"),
        "request": record,
        "counts": {
            "points": outcome.points,
            "looked at": outcome.looked,
            "with nothing new": outcome.empty,
            "photographs": outcome.photographs,
            "gone": outcome.gone,
        },
    }
    write_text(out / TABLE, stream.getvalue())
    write_json(out / ACQUISITION, acquisition)


def _row(found: Found, provider: Provider) -> tuple[object, ...]:
    place = (repr(found.lat), repr(found.lon), found.taken, f"{found.heading:g}")
    file = f"{IMAGES}/{file_name(found)}"
    return (file, *place, provider.name, found.id, provider.terms.licence, found.contributor, found.page)
