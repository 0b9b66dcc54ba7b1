"""Against a server of this machine over TLS, whose certificate is trusted within the tests."""

import hashlib
import shutil
import ssl
import stat
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from keras_dpn import download as module
from keras_dpn.download import cache_directory, discard, download

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs a certificate")
CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
    "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
)
CONTENT = b"weights" * 100
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    requests = []

    def do_GET(self):  # noqa: N802
        self.requests.append(self.path)
        getattr(self, self.path.strip("/").split(".")[0].split("/")[-1], self.good)()

    def log_message(self, *_):
        pass

    def answer(self, code=200, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def good(self):
        self.answer(Content_Length=str(len(CONTENT)))
        self.wfile.write(CONTENT)

    def absent(self):
        self.send_error(404)

    def tohttp(self):
        self.answer(302, Location="http://localhost:1/x.h5")

    def tofile(self):
        self.answer(302, Location="file:///etc/hostname")

    def togood(self):
        self.answer(302, Location="/good.h5")

    def loop(self):
        self.answer(302, Location="/loop.h5")

    def short(self):
        self.answer(Content_Length=str(len(CONTENT) + 1))
        self.wfile.write(CONTENT)

    def huge(self):
        self.answer(Content_Length=str(2**50))

    def endless(self):
        self.answer()
        self.repeat(bytes(2**16))

    def dripheaders(self):
        self.repeat(b"H", 0.05)

    def dripchunk(self):
        self.answer(Transfer_Encoding="chunked")
        self.repeat(b"0", 0.05)

    def drip(self):
        self.answer()
        self.repeat(b"x", 0.05)

    def repeat(self, content, pause=0.0):
        """Sends the same bytes until the client has left."""
        try:
            while True:
                self.wfile.write(content)
                time.sleep(pause)
        except OSError:
            pass


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = [*CERTIFICATE.split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    http = ThreadingHTTPServer(("localhost", 0), Handler)
    http.daemon_threads = True
    http.socket = context.wrap_socket(http.socket, server_side=True)
    threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
    yield f"https://localhost:{http.server_port}", certificate
    http.shutdown()
    http.server_close()


@pytest.fixture
def address(server, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(server[1]))
    monkeypatch.setenv("no_proxy", "localhost")
    Handler.requests.clear()
    return server[0]


def files(directory):
    return sorted(path.name for path in directory.rglob("*") if path.is_file())


def test_a_file_is_downloaded_once_into_a_directory_of_the_users(address, tmp_path):
    directory = tmp_path / "new" / "cache"
    path = download(f"{address}/a/vgg.h5?x=1", directory, sha256=DIGEST)
    assert path.read_bytes() == CONTENT and path.name.endswith("-vgg.h5")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert download(f"{address}/a/vgg.h5?x=1", directory) == path
    assert len(Handler.requests) == 1
    other = download(f"{address}/b/vgg.h5", directory)
    assert other != path and len(Handler.requests) == 2


def test_a_planted_or_changed_file_is_downloaded_again(address, tmp_path):
    path = download(f"{address}/vgg.h5", tmp_path)
    path.write_bytes(b"another")
    assert download(f"{address}/vgg.h5", tmp_path).read_bytes() == CONTENT
    discard(path)
    assert not path.exists()
    path.write_bytes(b"planted")  # without a record
    assert download(f"{address}/vgg.h5", tmp_path).read_bytes() == CONTENT


def test_only_downloads_are_discarded(tmp_path):
    path = tmp_path / "vgg.h5"
    path.write_bytes(b"mine")
    path.with_name("vgg.h5.sha256").write_text("mine, too")
    discard(path)
    assert files(tmp_path) == ["vgg.h5", "vgg.h5.sha256"]


def test_redirections_within_https_are_followed(address, tmp_path):
    assert download(f"{address}/togood.h5", tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tohttp", "redirected to http://localhost:1/x.h5, which is not https"),
        ("tofile", "redirected to file:|Redirection to url 'file:"),
        ("loop", "infinite loop"),
        ("absent", "404"),
        ("short", "expected 701 bytes, received 700"),
        ("huge", "expected at most 100000 bytes"),
        ("endless", "expected at most 100000 bytes"),
        ("drip", "expected at most 0.2 seconds"),
        ("dripheaders", "expected at most 0.2 seconds"),
        ("dripchunk", "expected at most 0.2 seconds"),
    ],
)
def test_what_is_no_whole_file_leaves_none(address, tmp_path, name, message):
    limits = {"max_bytes": 100_000, "max_seconds": 0.2 if "drip" in name else 60}
    with pytest.raises(OSError, match=f"{name}.h5: the download failed: .*({message})"):
        download(f"{address}/{name}.h5", tmp_path, **limits)
    assert files(tmp_path) == []


def test_another_digest_leaves_no_file(address, tmp_path):
    with pytest.raises(ValueError, match=f"expected SHA-256 0000, received {DIGEST}"):
        download(f"{address}/vgg.h5", tmp_path, sha256="0000")
    assert files(tmp_path) == []
    path = download(f"{address}/vgg.h5", tmp_path)
    with pytest.raises(ValueError, match="expected SHA-256 0000"):
        download(f"{address}/vgg.h5", tmp_path, sha256="0000")
    assert path.read_bytes() == CONTENT  # which nobody asked to replace


def test_untrusted_certificates_are_refused(server, tmp_path):
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        download(f"{server[0]}/vgg.h5", tmp_path)


@pytest.mark.parametrize("address", ["http://example.org/vgg.h5", "file:///etc/vgg.h5", "vgg.h5"])
def test_only_https_is_downloaded(address, tmp_path):
    with pytest.raises(ValueError, match=f"expected an https:// address, received {address}"):
        download(address, tmp_path)


def test_the_cache_is_never_a_shared_folder(address, tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_directory() == tmp_path / "home" / ".keras" / "keras_dpn"
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    assert cache_directory() == tmp_path / "keras" / "keras_dpn"
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(OSError):
        download(f"{address}/vgg.h5", tmp_path / "file" / "cache")
    assert module.MAX_BYTES == 2**31
