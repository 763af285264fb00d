"""A real nginx on loopback ports, with the sites that render.sh writes and a certificate of its own."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from genesis.processes import free_port
from tests.conftest import PROGRAM_PATH
from tests.deploy.machine import DEPLOY, run_program, until

SERVER_NAME = "gpu.example"
_MAIN = """\
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{}}
http {{
    client_body_temp_path {folder}/temporary-bodies;
    proxy_temp_path {folder}/temporary-answers;
    fastcgi_temp_path {folder}/unused-1;
    uwsgi_temp_path {folder}/unused-2;
    scgi_temp_path {folder}/unused-3;
    include conf.d/*.conf;
    include sites-enabled/*.conf;
}}
"""


@dataclass(frozen=True)
class Nginx:
    """nginx's folder, and where it listens."""

    folder: Path
    http_port: int
    https_port: int

    @classmethod
    def prepare(cls, folder: Path) -> Nginx:
        """A certificate for gpu.example, and the main file that Debian's would be."""
        made = run_program(
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={SERVER_NAME}"),
            *("-addext", f"subjectAltName=DNS:{SERVER_NAME}"),
            *("-keyout", folder / "key.pem", "-out", folder / "certificate.pem"),
        )
        assert made.returncode == 0, made.stderr
        # Started by root, nginx gives up its rights, and then cannot enter a test's folder.
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(_MAIN.format(user=user, folder=folder))
        return cls(folder, free_port(), free_port())

    def render(self, role: str, *options: str) -> None:
        """Installs a service's site, as an operator does."""
        command: list[str | Path] = [DEPLOY / "nginx/render.sh", role, SERVER_NAME, "--install", "--root", self.folder]
        command += ["--address", "127.0.0.1", "--log-dir", self.folder]
        command += ["--http-port", str(self.http_port), "--https-port", str(self.https_port)]
        command += ["--certificate", self.folder / "certificate.pem", "--certificate-key", self.folder / "key.pem"]
        rendered = run_program(*command, *options)
        assert rendered.returncode == 0, rendered.stderr

    def check(self) -> subprocess.CompletedProcess[str]:
        """`nginx -t`."""
        return run_program(*self._command, "-t")

    def start(self) -> subprocess.Popen[bytes]:
        """Serves until it is terminated."""
        process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: (self.folder / "nginx.pid").exists() or process.poll() is not None, "nginx")
        assert process.poll() is None, (self.folder / "error.log").read_text()
        return process

    def reload(self) -> None:
        """What `systemctl reload nginx` does; takes a moment."""
        os.kill(int((self.folder / "nginx.pid").read_text()), signal.SIGHUP)

    def tls(self) -> ssl.SSLContext:
        """Trusts the certificate, and nothing else."""
        return ssl.create_default_context(cafile=str(self.folder / "certificate.pem"))

    @property
    def _command(self) -> list[str | Path]:
        program = shutil.which("nginx", path=PROGRAM_PATH)
        assert program is not None
        return [program, "-e", self.folder / "error.log", "-p", self.folder, "-c", self.folder / "nginx.conf"]
