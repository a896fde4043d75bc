"""Forwards with real applications on a host that forbids forwarding (rows E1 E5, C7)."""
# deadline: 600
# parallel: ok
import hashlib
import os
import unittest

from forwarding import Forwards
from harness import free_port, run, wait_for


class Applications(Forwards):
    """Real programs, on a host whose sshd forbids everything but one session."""
    extra = "AllowTcpForwarding no\nAllowStreamLocalForwarding no\nMaxSessions 1\nPermitOpen none\nPermitListen none"

    def start(self, *argv, script=None):
        """A program of the remote user; ends with the test."""
        p = self.local.start("exec", self.host.alias, *(["-c", script] if script else ["--", *argv]), stdin=None)
        self.addCleanup(p.kill)
        return p

    def forward(self, target):
        # any port here: the host is this machine, and its own number is the application's
        out = self.local.towline("forward", self.host.alias, "0:" + target).stdout
        return int(out.split(" ")[0].split(":")[1])

    def test_nginx(self):
        port, root = free_port(), os.path.join(self.host.home, "www")
        conf = (f"daemon off; pid {root}/pid; error_log stderr; events {{}} http {{ access_log off; client_body_temp_path {root}/1; "
                f"proxy_temp_path {root}/2; fastcgi_temp_path {root}/3; uwsgi_temp_path {root}/4; scgi_temp_path {root}/5; "
                f"server {{ listen 127.0.0.1:{port}; root {root}/html; rewrite ^/old$ http://localhost:{port}/new redirect; }} }}")
        self.start(script=f"mkdir -p {root}/html && cd {root} && head -c 33554432 /dev/urandom >html/blob && sha256sum <html/blob >sum && "
                          f"echo page >html/index.html && echo '{conf}' >conf && /usr/sbin/nginx -p {root} -c {root}/conf")
        here = self.forward(f"127.0.0.1:{port}")
        url = f"http://localhost:{here}"
        wait_for(lambda: run(["curl", "-s", "-o", "/dev/null", url], check=False).returncode == 0, 60, "nginx")
        with open(os.path.join(root, "sum")) as f:
            want = f.read().split()[0]
        for more in ([], ["--http1.0"]):
            r = run(["curl", "-s", "-f", *more, url + "/blob"], text=False)
            self.assertEqual(hashlib.sha256(r.stdout).hexdigest(), want)
        r = run(["curl", "-s", "-f", "-r", "1000-1999", url + "/blob"], text=False)
        self.assertEqual(len(r.stdout), 1000)
        # several on one kept-alive connection, and one that goes elsewhere
        r = run(["curl", "-s", "-w", "%{num_connects} ", *[url + "/index.html"] * 5])
        self.assertEqual((r.stdout.count("page"), r.stdout.count("\n1 ") + r.stdout.startswith("1 ")), (5, 1), r.stdout)
        r = run(["curl", "-s", "-w", "%{http_code} %{redirect_url}", "-o", "/dev/null", url + "/old"])
        self.assertEqual(r.stdout, f"302 http://localhost:{port}/new")

    def test_postgresql_through_a_port_and_through_a_socket(self):
        port, data = free_port(), os.path.join(self.host.home, "pg")
        tools = sorted(d for d in os.listdir("/usr/lib/postgresql"))[-1]
        bin_ = f"/usr/lib/postgresql/{tools}/bin"
        self.start(script=f"{bin_}/initdb -D {data} -A trust -U me --no-sync >/dev/null && "
                          f"exec {bin_}/postgres -D {data} -h 127.0.0.1 -p {port} -k {self.host.home} -F")
        here = self.forward(f"localhost:{port}")
        env = {"PATH": os.environ["PATH"], "PGUSER": "me", "PGDATABASE": "postgres", "PGCONNECT_TIMEOUT": "30"}

        def psql(host, at, sql):
            return run(["psql", "-X", "-A", "-t", "-h", host, "-p", at, "-c", sql], check=False, env=env)
        wait_for(lambda: psql("localhost", here, "select 1").stdout == "1\n", 120, "PostgreSQL")
        r = psql("localhost", here, "select count(*), md5(string_agg(repeat(i::text, 100), '')) from generate_series(1, 20000) i")
        self.assertRegex(r.stdout, r"^20000\|[0-9a-f]{32}\n$")
        rows = psql("localhost", here, "select repeat(i::text, 200) from generate_series(1, 5000) i").stdout.splitlines()
        self.assertEqual(rows, [str(i) * 200 for i in range(1, 5001)])
        # the name of its socket is kept, so the folder is all that psql needs
        path = self.local.towline("forward", self.host.alias, f"{self.host.home}/.s.PGSQL.{port}").stdout.split(" ")[0]
        self.assertEqual(psql(os.path.dirname(path), port, "select inet_server_addr() is null").stdout, "t\n")

    def test_httpuv_pages_and_web_sockets(self):
        from harness.ws import TEXT, WebSocket
        port = free_port()
        app = ("httpuv::runServer('127.0.0.1', %d, list(call = function(req) list(status = 200L, headers = list('Content-Type' = 'text/plain'), "
               "body = paste0('R says ', req$PATH_INFO)), onWSOpen = function(ws) ws$onMessage(function(binary, m) ws$send(m))))" % port)
        self.start("Rscript", "-e", app)
        here = self.forward(f"127.0.0.1:{port}")
        wait_for(lambda: run(["curl", "-s", f"http://localhost:{here}/x"], check=False).stdout == "R says /x", 120, "httpuv")
        ws = WebSocket(here, path="/", protocol=None, origin=None, timeout=60)
        self.addCleanup(ws.sock.close)
        for text in ("grüß dich", "x" * 300000):
            ws.send(text)
            self.assertEqual(ws.recv_frame(), (TEXT, True, text.encode()))


if __name__ == "__main__":
    unittest.main()
