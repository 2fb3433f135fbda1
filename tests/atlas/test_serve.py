import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest
from click.testing import CliRunner

from atlas.cli import main
from atlas.errors import InputError
from atlas.hosts import HEADERS
from atlas.serve import site_server


@pytest.fixture
def site(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "index.html").write_text("<p>here</p>")
    (tmp_path / "a" / "x.js").write_text("1;")
    return tmp_path


def test_it_serves_with_the_headers_of_hosts(site):
    with site_server(site, 0) as server:
        assert server.server_address[0] == "127.0.0.1"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_address[1]}"
        with urllib.request.urlopen(f"{root}/") as answer:
            assert answer.read() == b"<p>here</p>"
            assert answer.headers["Content-Security-Policy"] == HEADERS["/*"]["Content-Security-Policy"]
            assert answer.headers["Cache-Control"] is None
        with urllib.request.urlopen(f"{root}/a/x.js") as answer:
            assert answer.headers["Content-Type"] == "text/javascript"
            assert "immutable" in answer.headers["Cache-Control"]
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{root}/%2e%2e/secret")
        server.shutdown()


def test_no_site_and_a_port_in_use(site, tmp_path):
    with pytest.raises(InputError, match=r"holds no index\.html"):
        site_server(tmp_path / "a", 0)
    with site_server(site, 0) as server, pytest.raises(InputError, match="choose another with --port"):
        site_server(site, server.server_address[1])
    assert CliRunner().invoke(main, ["serve", str(tmp_path / "nothing")]).exit_code == 2


def test_the_command_says_where_and_ends_on_ctrl_c(site):
    code = "from atlas.cli import main; main()"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", code, "serve", str(site), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell has children ignore it
    ) as process:
        url = process.stdout.readline().strip()
        assert urllib.request.urlopen(url).read() == b"<p>here</p>"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
