"""What a participant costs in a fresh process, and a connection to a real socket."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest
from tests.federation.tiny import bundle

from tegu.client import Personalizer
from tegu.client.federation.http import Connection, OverBudgetError, RefusedError, UnreachableError
from tegu.client.federation.minimums import Minimums
from tegu.client.participant import Participant
from tegu.core.bundle.file import write_bundle
from tegu.core.errors import FederationError
from tegu.server.serving.certificates import make_node_key, make_server_certificate

IDLE_MEGABYTES = 110
# psutil itself takes a megabyte of it.
IDLE = """
import sys, time
import numpy as np, psutil
from tegu.client import Personalizer
from tegu.client.participant import Participant
from tegu.client.participant.rounds import Rounds
bundle, store, keys = sys.argv[1:]
with Personalizer.open(bundle, store) as personalizer:
    rng = np.random.default_rng(0)
    personalizer.observe(rng.normal(size=(20, 4)).astype(np.float32), rng.integers(0, 3, 20))
    personalizer.opt_in()
    personalizer.adapt()
    personalizer.predict(np.zeros((1, 4), np.float32))
    with Participant(personalizer, "127.0.0.1:9", ca=f"{keys}/ca.crt", key=f"{keys}/phone") as participant:
        while participant.state.status != "unreachable":
            time.sleep(0.05)
        loaded = {name.split(".")[0] for name in sys.modules}
        print(psutil.Process().memory_info().rss / 1e6, *sorted(loaded & {"flwr", "torch", "onnx", "grpc", "httpx"}))
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    make_server_certificate(folder)
    make_node_key(folder, "phone")
    return folder


def test_an_idle_participant_is_light(tmp_path: Path, keys: Path, run_script: Callable[..., Popen[str]]) -> None:
    """With ONNX Runtime and a graph that has been run; and without flwr."""
    write_bundle(tmp_path / "init.tegu", bundle())
    process = run_script(IDLE, tmp_path / "init.tegu", tmp_path / "user.db", keys)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    megabytes, *heavy = out.split()
    assert heavy == []
    assert 50 < float(megabytes) < IDLE_MEGABYTES


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers by the path, and keeps connections open but for /close."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        status, body = {
            "/refused": (401, json.dumps({"code": 2004}).encode()),
            "/broken": (500, b"<html>"),
            "/large": (200, bytes(100_000)),
        }.get(self.path, (200, self.path.encode()))
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.path == "/close"

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def serving(keys: Path) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "server.crt", keys / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def test_a_connection_is_kept_bounded_and_counted(keys: Path) -> None:
    with serving(keys) as port:
        connection = Connection("127.0.0.1", port, ssl.create_default_context(cafile=keys / "ca.crt"), 5)
        assert connection.ask("/one", b"x" * 100, {"a": "b"}, 10_000) == b"/one"
        first = connection.transferred
        assert 100 < first < 400
        assert connection.ask("/close", b"", {}, 10_000) == b"/close"
        assert connection.ask("/two", b"", {}, 10_000) == b"/two", "what the server has closed is opened again"
        with pytest.raises(OverBudgetError):
            connection.ask("/large", b"", {}, 50_000)
        with pytest.raises(OverBudgetError):
            connection.ask("/one", b"x" * 100, {}, 50)
        with pytest.raises(RefusedError) as refused:
            connection.ask("/refused", b"", {}, 10_000)
        assert (refused.value.status, refused.value.code) == (401, 2004)
        with pytest.raises(RefusedError) as refused:
            connection.ask("/broken", b"", {}, 10_000)
        assert (refused.value.status, refused.value.code) == (500, 0)
        assert len(connection.ask("/large", b"", {}, 200_000)) == 100_000
        connection.close()
    with pytest.raises(UnreachableError):
        connection.ask("/one", b"", {}, 10_000)


def test_a_server_of_another_authority_is_not_reached(keys: Path, tmp_path: Path) -> None:
    make_server_certificate(tmp_path)
    with serving(keys) as port:
        connection = Connection("127.0.0.1", port, ssl.create_default_context(cafile=tmp_path / "ca.crt"), 5)
        with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            connection.ask("/one", b"", {}, 10_000)


def test_mistakes_of_an_app_are_named(keys: Path, tmp_path: Path) -> None:
    with Personalizer.open(bundle()) as personalizer:
        for server in ("host", "host:", ":80", "host:0", "host:99999"):
            with pytest.raises(FederationError, match="expected a host and a port"):
                Participant(personalizer, server)
        with pytest.raises(FederationError, match="give the certificate"):
            Participant(personalizer, "federation.example:8000")
        (tmp_path / "no.crt").write_text("no certificate")
        with pytest.raises(FederationError, match="not a readable certificate"):
            Participant(personalizer, "127.0.0.1:9", ca=tmp_path / "no.crt", key=keys / "phone").start()
        with pytest.raises(FederationError, match="not a readable private key"):
            Participant(personalizer, "127.0.0.1:9", ca=keys / "ca.crt", key=tmp_path / "no.crt").start()
        participant = Participant(personalizer, "127.0.0.1:9", minimums=Minimums())
        assert participant.stop()
        assert participant.state.status == "stopped"
        with participant:
            participant.start()
            assert len([each for each in threading.enumerate() if each.name == "tegu-participant"]) == 1
        assert participant.state.status == "stopped"
