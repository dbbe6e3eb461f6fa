"""What strangers may send to the dashboard: any JSON, any address, any value; and a store that fails meanwhile."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pandas as pd
import pytest
from dashboard_data import fill
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarcview.dashboard import given as rim
from dmarcview.dashboard import guard, routes, url
from dmarcview.dashboard.app import END, create_app
from dmarcview.dashboard.frames import Frames
from dmarcview.dashboard.papers import Papers
from dmarcview.dashboard.reconcile import ReconcileFrames
from dmarcview.dashboard.sent import SentFrames
from dmarcview.dashboard.serve import Server
from dmarcview.store import Store, StoreError

PREFIX = "/mail/"
GZIP = {"Accept-Encoding": "gzip"}
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
LABELS = [{"type": "label", "class": name} for name in ("own", "forget", "boss")]
ODD = ([], ["a", "b"], {"a": 1}, 7, True, 1.5, None, "\ud800", "x" * 5_000)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with fill(tmp_path_factory.mktemp("guard"), days=20) as filled:
        yield filled


class Site:
    """The dashboard below a prefix, asked without a socket; requests of pages are put together as Dash does."""

    def __init__(self, store: Store) -> None:
        self.app = create_app(store, prefix=PREFIX)
        self.client = self.app.server.test_client()
        self.get("")

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(PREFIX + path, headers=headers)

    def post(self, body: Any) -> Any:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(PREFIX + "_dash-update-component", data=sent, content_type="application/json")

    def body(self, part: str, changed: str = "", **values: Any) -> dict[str, Any]:
        """The request for the one callback that writes `part`; `values` by name, `id__property`."""
        found = [key for key in self.app.callback_map if part in key and "callback" in self.app.callback_map[key]]
        if len(found) > 1:  # several write it: the one that `changed` starts
            starts = [[f"{i['id']}.{i['property']}" for i in self.app.callback_map[key]["inputs"]] for key in found]
            found = [key for key, names in zip(found, starts, strict=True) if changed in names]
        assert len(found) == 1, found
        known, output = self.app.callback_map[found[0]], found[0]
        names = output[2:-2].split("...") if output.startswith("..") else [output]
        outputs = [dict(zip(("id", "property"), name.rsplit(".", 1), strict=True)) for name in names]

        def filled(wanted: dict[str, Any]) -> Any:
            value = values.get(f"{wanted['id']}__{wanted['property']}".replace("-", "_"))
            if wanted["id"].startswith("{"):
                return [{"id": one, "property": "n_clicks", "value": value} for one in LABELS]
            return {**wanted, "value": value}

        return {
            "output": output,
            "outputs": outputs if output.startswith("..") else outputs[0],
            "inputs": [filled(one) for one in known["inputs"]],
            "state": [filled(one) for one in known["state"]],
            "changedPropIds": [changed] if changed else [],
        }


@pytest.fixture(scope="module")
def site(store: Store) -> Iterator[Site]:
    one = Site(store)
    yield one
    one.app.server.extensions[END]()  # what is still being asked needs the store


def fault(answer: Any) -> str:
    """The sentence of a failed callback in an answer; "" when it did not fail."""
    told = json.loads(answer.get_data(as_text=True) or "{}")
    return str(told.get("sideUpdate", {}).get("fault-words", {}).get("children", ""))


# URL


def test_a_query_string_with_thousands_of_fields_is_read_as_far_as_it_counts() -> None:
    assert url.parse("?domain=example.org&" + "&".join(f"x{i}=1" for i in range(60))).domain == "example.org"
    assert url.parse("&" * 10_000) == url.View()


@pytest.mark.parametrize("odd", [b"?days=7", ["?days=7"], {"days": 7}, 7, True, None, 1.5])
def test_what_is_no_text_is_the_default_view(odd: Any) -> None:
    assert url.parse(odd) == url.View()


@given(st.text(st.characters(), max_size=60), st.sampled_from(["", "?domain=", "?from=", "?days=", "?source=a~"]))
def test_text_without_an_utf8_form_makes_no_view_that_cannot_be_written(tail: str, head: str) -> None:
    view = url.parse(head + tail + "\ud800")
    assert url.parse(url.write(view)) == view


# values


@given(ANY_JSON)
def test_any_value_becomes_the_type_that_a_callback_takes(value: Any) -> None:
    assert isinstance(rim.word(value, 10), str)
    assert len(rim.word(value, 10)) <= 10
    assert type(rim.clicks(value)) is int
    days = rim.two_days(value)
    assert days is None or (len(days) == 2 and all(isinstance(day, str) for day in days))


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("report-body.children", ""),
        ("raw-body.children", ""),
        ("outcome-chart.figure", ""),
        ("rate-chart.figure", ""),
        ("source-drawer.opened", ""),
        ("sources-grid.rowData", ""),
        ("reports-grid.rowData", ""),
        ("intake-tiles.children", ""),
        ("overview-tiles.children", ""),
        ("page.children", ""),
        ("url.search@", "unit.value"),
        ("url.search@", "sent-find.value"),
        ("sent-outcome.value", ""),
        ("sent-chart.figure", ""),
        ("sent-tiles.children", ""),
        ("sent-drawer.opened", ""),
        ("reconcile-tiles.children", ""),
        ("reconcile-chart.figure", ""),
        ("filter-dates.value", "filter-dates.value"),
        ("filter-dates.value", "filter-domain.value"),
        ("label-said.children", '{"class":"own","type":"label"}.n_clicks'),
        ("alerts-open.children", ""),
        ("alerts-count.children", ""),
        ("incident-body.children", ""),
        ("incident-chart.figure", ""),
        ("incident-note.value", ""),
        ("backtest-result.children", "slow-version.data"),
        ("alerts-said.children", "incident-ack.n_clicks"),
        ("alerts-said.children", '{"do":"ack","id":"1","type":"incident"}.n_clicks'),
    ],
)
def test_no_value_of_another_type_breaks_a_callback(site: Site, part: str, changed: str, odd: Any) -> None:
    body = site.body(part, changed)
    for item in (*body["inputs"], *body["state"]):
        for one in item if isinstance(item, list) else [item]:
            one["value"] = odd
    answer = site.post(body)
    assert answer.status_code in (200, 204)
    assert fault(answer) == ""


def test_a_report_key_that_is_a_list_finds_no_report(site: Site, store: Store) -> None:
    key = str(Papers(Frames(store)).reports(url.View())["report_key"].iloc[0])
    assert b"Report not found" in site.post(site.body("report-body.children", report_key__data=[key])).data
    assert b"Report not found" not in site.post(site.body("report-body.children", report_key__data=key)).data


def test_only_the_classes_of_the_page_can_be_given_to_a_source(site: Site, store: Store) -> None:
    def press(name: str) -> Any:
        changed = json.dumps({"class": name, "type": "label"}, separators=(",", ":")) + ".n_clicks"
        body = site.body("label-said.children", changed, url__search="?source=example.net~203.0.113.90")
        for one in body["inputs"][0]:
            one["value"] = 1
        return site.post(body)

    assert press("boss").status_code == 204
    assert store.labels() == []
    assert b"Remembered" in press("own").data
    assert [label.source_class for label in store.labels()] == ["own"]
    assert b"Forgotten" in press("forget").data
    assert store.labels() == []


# the shape of a request


@pytest.mark.parametrize("body", [b"null", b"[]", b"1", b'"x"', b"{}", b"", b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_no_page_sends_is_refused(site: Site, body: bytes) -> None:
    answer = site.post(body)
    assert answer.status_code == 400
    assert b"Load the page again" in answer.data


def test_an_unknown_output_is_refused_and_its_name_is_not_in_the_log(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    good = site.body("report-body.children")
    for output in ("x" * 1_000_000, "x.children", "copy.title", "", None, 7, ["page.children"], {}):
        assert site.post(good | {"output": output}).status_code == 400
    assert caplog.text == ""


@pytest.mark.parametrize("part", ["inputs", "state", "outputs", "changedPropIds"])
@settings(max_examples=40)
@given(value=ANY_JSON)
def test_parts_of_another_shape_are_refused_or_harmless(site: Site, part: str, value: Any) -> None:
    for name in ("label-said.children", "raw-body.children"):
        assert site.post(site.body(name) | {part: value}).status_code in (200, 204, 400)


def test_an_input_in_the_place_of_another_is_refused(site: Site) -> None:
    body = site.body("report-body.children")
    assert site.post(body).status_code == 200
    assert site.post(body | {"inputs": body["inputs"][::-1]}).status_code == 400
    assert site.post(body | {"inputs": body["inputs"][:1]}).status_code == 400
    assert site.post(body | {"outputs": body["outputs"][:1]}).status_code == 400
    assert site.post(body | {"changedPropIds": ['{"class":.n_clicks']}).status_code == 400


def test_a_fault_names_only_pieces_that_there_are(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise StoreError("gone")

    monkeypatch.setattr(Papers, "report", broken)
    body = site.body("report-body.children")
    assert "The store does not answer: gone." in fault(site.post(body))
    assert "could not draw ['report-body', 'raw-card']" in caplog.text
    body["outputs"][0]["id"] = "y" * 1_000
    assert site.post(body).status_code == 400
    assert "yyy" not in caplog.text


# files


@pytest.mark.parametrize("path", ["os/__init__.py", "dash/../dash/dash.py", "dash/nothing.js", "nothing/nothing.js"])
def test_a_file_that_no_component_has_is_not_found(site: Site, path: str, caplog: pytest.LogCaptureFixture) -> None:
    answer = site.get("_dash-component-suites/" + path)
    assert answer.status_code == 404
    assert "Traceback" not in caplog.text


def test_a_source_map_that_its_package_does_not_bring_is_not_found(site: Site) -> None:
    for package, paths in site.app.registered_paths.items():
        for path in sorted(p for p in paths if p.endswith(".map")):
            answer = site.get(f"_dash-component-suites/{package}/{path}")
            assert answer.status_code in (200, 404), path
            answer.close()


def test_only_files_fill_the_cache_and_each_fills_it_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    real = guard.Packed.put

    def noting(cache: guard.Packed, path: str, content: bytes, media: str) -> bytes:
        kept.append(path)
        return real(cache, path, content, media)

    monkeypatch.setattr(guard.Packed, "put", noting)
    site = Site(store)
    for page in ("x/assets/y.js", "x/_dash-component-suites/y.js", "assets/../x.js", "assets/none.js"):
        site.get(page, **GZIP).close()
    assert kept == []
    for spelled in ("style.css", "./style.css", "icons/../style.css", "././style.css"):
        answer = site.client.get(PREFIX + "assets/" + spelled, headers=GZIP)
        assert answer.status_code in (200, 404)
        answer.close()
    for version in ("v1m1", "v2m2", "v3m3"):
        answer = site.get(f"_dash-component-suites/dash/dcc/dash_core_components.{version}.js", **GZIP)
        assert answer.status_code == 200
        assert answer.headers["Content-Encoding"] == "gzip"
        answer.close()
    assert kept == [PREFIX + "assets/style.css", PREFIX + "_dash-component-suites/dash/dcc/dash_core_components.js"]


# exports


@pytest.mark.parametrize("error", [StoreError("a record file is missing"), duckdb.Error("odd"), OSError("odd")])
@pytest.mark.parametrize(
    ("path", "owner", "name"),
    [
        ("export/sources.csv", Frames, "sources"),
        ("export/reports.csv", Papers, "reports"),
        ("export/sent.csv", SentFrames, "rows"),
        ("export/reconcile.csv", ReconcileFrames, "rows"),
        ("raw/abc.xml", Papers, "xml"),
    ],
)
def test_a_store_that_fails_before_the_first_byte_is_a_503_with_a_sentence(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    path: str, owner: type, name: str, error: Exception,
) -> None:  # fmt: skip
    def broken(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(owner, name, broken)
    answer = site.get(path)
    assert answer.status_code == 503
    assert answer.mimetype == "text/plain"
    said = answer.get_data(as_text=True)
    assert said.startswith("The store does not answer")
    assert ("a record file is missing" in said) == isinstance(error, StoreError)
    assert "odd" not in said
    assert path in caplog.text


def _breaks_at(row: int) -> Callable[[Any], Any]:
    def cell(value: Any) -> Any:
        if value == row:
            raise duckdb.Error("half way")
        return value

    return cell


def test_an_export_that_fails_half_way_is_cut_and_is_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = pd.DataFrame({"n": range(routes.CSV_SLICE * 3)})
    monkeypatch.setattr(routes, "_cell", _breaks_at(routes.CSV_SLICE + 5))
    answer = routes._csv(rows, "sources")
    with caplog.at_level(logging.ERROR), pytest.raises(duckdb.Error, match="half way"):
        list(answer.response)
    assert "the export of sources ended before its last row" in caplog.text
    monkeypatch.setattr(routes, "_cell", _breaks_at(3))
    with pytest.raises(duckdb.Error, match="half way"):
        routes._csv(rows, "sources")  # before there is an answer: no 200


def test_an_export_has_every_row_once(site: Site, store: Store) -> None:
    lines = site.get("export/reports.csv").get_data(as_text=True).splitlines()
    assert len(lines) == 1 + len(Papers(Frames(store)).reports(url.View(), limit=None))
    assert len(set(lines)) == len(lines)


def test_a_process_of_its_own_leaves_what_it_loaded_out_of_garbage_collection(store: Store) -> None:
    before = gc.get_freeze_count()
    beside, alone = Server(create_app(store)), Server(create_app(store), alone=True)
    try:
        beside._warm()
        assert gc.get_freeze_count() == before
        alone._warm()
        assert gc.get_freeze_count() > before + 10_000
    finally:
        gc.unfreeze()
        beside.stop()
        alone.stop()
