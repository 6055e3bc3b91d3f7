"""Who may ask: host names, other sites, the token, limits, headers."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from partscope.web import Session, create_app
from partscope.web.serving import hosts_of
from web_sessions import FoundSession

PAGE = "http://127.0.0.1:8765"
HEADERS = {
    "content-security-policy": r"default-src 'self';.*frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}


@pytest.fixture
def client(searched: FoundSession) -> TestClient:
    """Nothing here changes the session, so all tests share one."""
    return searched.client


@pytest.fixture
def session(searched: FoundSession) -> Session:
    return searched.session


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example:8765",
        "",
        "[",
        "10.0.0.7:8765",
        "localhost.evil",
        *(
            "evil@127.0.0.1",
            "127.0.0.1/evil",
            "127.0.0.1#evil.example",
            "127.0.0.1?x",
            "127.0.0.1:",
            "[::1",
            "127.0.0.1:999999",
        ),
    ],
)
def test_foreign_host_headers_are_refused(client: TestClient, host: str) -> None:
    for path in ("/", "/api/project", "/static/main.js"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 421
        assert "does not answer to the name" in answer.json()["error"]


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:1", "LOCALHOST", "[::1]:8765"])
def test_own_host_headers_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/project", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "http://127.0.0.1:8765@evil.example"},
        {"Origin": "ftp://127.0.0.1:8765"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_requests_from_other_sites_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    for method, path in (
        ("PUT", "/api/parts"),
        ("POST", "/api/find"),
        ("POST", "/api/upload?name=a.png"),
        ("GET", "/api/pictures"),
    ):
        answer = client.request(method, path, headers=headers, content=b"" if method == "GET" else b"{}")
        assert answer.status_code == 403, (method, path)
        assert "other sites" in answer.json()["error"]


def test_a_link_from_another_site_may_open_the_page_and_nothing_else(client: TestClient) -> None:
    opening = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=opening).status_code == 200
    assert client.get("/api/project", headers=opening).status_code == 403
    assert (
        client.get("/", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}).status_code
        == 403
    )


def test_a_change_needs_the_header_that_other_sites_cannot_send(session: Session) -> None:
    plain = TestClient(create_app(session), base_url=PAGE)
    for method, path in (("PUT", "/api/parts"), ("POST", "/api/find"), ("POST", "/api/upload?name=a.png")):
        assert plain.request(method, path, content=b"{}").status_code == 403
    assert plain.get("/api/project").status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/api/project", "/api/pictures/nothing", "/static/main.js", "/static/none.js", "/nowhere"]
)
def test_every_answer_has_the_security_headers(client: TestClient, path: str) -> None:
    answers = [client.get(path), client.get(path, headers={"Host": "evil.example"})]
    for answer in answers:
        for name, pattern in HEADERS.items():
            assert re.search(pattern, answer.headers[name]), (path, name)


def test_the_token_opens_the_page_once_and_the_cookie_afterwards(session: Session) -> None:
    app = create_app(session, hosts=hosts_of("0.0.0.0"), token="a long secret", addresses=True)
    client = TestClient(app, base_url="http://192.168.0.9:8765")
    for path in ("/", "/api/project", "/static/main.js", "/?token=wrong", "/api/project?token=a+long+secret"):
        assert client.get(path).status_code == 401, path
    answer = client.get("/?token=a+long+secret", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/api/project").status_code == 200
    fresh = TestClient(app, base_url="http://192.168.0.9:8765")
    assert fresh.get("/api/project", headers={"Authorization": "Bearer a long secret"}).status_code == 200
    assert fresh.get("/api/project", headers={"Authorization": "Bearer a long secre"}).status_code == 401
    # A name that an attacker makes resolve to this machine is still refused; an address cannot be made to.
    assert (
        fresh.get(
            "/api/project", headers={"Host": "evil.example", "Authorization": "Bearer a long secret"}
        ).status_code
        == 421
    )


def test_large_requests_and_those_of_unknown_length_are_refused(client: TestClient) -> None:
    large = client.put("/api/parts", content=b" " * ((1 << 20) + 1), headers={"If-Match": "0"})
    assert large.status_code == 413
    assert "larger than the 1 MB" in large.json()["error"]
    endless = client.put("/api/parts", content=iter([b"{", b"}"]))
    assert endless.status_code == 411


def test_numbers_that_are_none_get_one_sentence(client: TestClient) -> None:
    for seen in (b"9" * 5000, b"\xb2", b"-1", b"1,2", b"1.0"):
        answer = client.put("/api/parts", json={"parts": []}, headers={"If-Match": seen})  # type: ignore[dict-item]
        assert (answer.status_code, "If-Match" in answer.json()["error"]) == (422, True), seen
    for length in (b"9" * 5000, b"\xb2", b"-1", b"1e3"):
        answer = client.put("/api/parts", content=b"{}", headers={"Content-Length": length})  # type: ignore[dict-item]
        assert (answer.status_code, "larger than" in answer.json()["error"]) == (413, True), length


def test_what_is_nowhere_gets_one_sentence_too(client: TestClient) -> None:
    for method, path, status in (
        ("GET", "/nowhere", 404),
        ("GET", "/static/%2e%2e/app.py", 404),
        ("GET", "/static/..%252fapp.py", 404),
        ("PATCH", "/api/project", 405),
        ("PUT", "/api/parts", 400),
    ):
        deep = (
            {"content": b"[" * 5000, "headers": {"Content-Type": "application/json"}} if status == 400 else {}
        )
        answer = client.request(method, path, **deep)  # type: ignore[arg-type]
        assert (answer.status_code, list(answer.json())) == (status, ["error"]), path


def test_malformed_requests_get_one_sentence(client: TestClient) -> None:
    answer = client.put("/api/parts", json={"parts": 3}, headers={"If-Match": "0"})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("body.parts: ")
    assert "If-Match" in client.put("/api/parts", json={"parts": []}).json()["error"]
