"""Gateways: who may come in, what survives, and Jupyter's own programs from Debian as clients: nbconvert and the notebook server."""
# parallel: ok
# deadline: 600
import http.client
import json
import os
import signal
import subprocess
import unittest
import urllib.error
import urllib.request

from harness import Daemon, Sshd, free_port, run, spawn, wait_for, wait_port

SLOW = 120


def ask(url, token=None, method="GET", body=None, **headers):
    """Status, headers, JSON (or bytes) of one request."""
    if token:
        headers["Authorization"] = "token " + token
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, method=method, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=SLOW) as answer:
            got = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as e:
        got = e.code, e.headers, e.read()
    try:
        return got[0], got[1], json.loads(got[2])
    except ValueError:
        return got


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Sshd()
        cls.local = Daemon(cls.host)
        cls.gateway = json.loads(cls.local.towline("gateway", "--json", "demo", timeout=SLOW).stdout)
        cls.url, cls.token = cls.gateway["url"], cls.gateway["token"]

    @classmethod
    def tearDownClass(cls):
        try:
            cls.local.stop()
        finally:
            cls.host.stop()

    def ask(self, path, method="GET", body=None, token=None, **headers):
        return ask(self.url + path, token or self.token, method, body, **headers)


class Access(Base):
    def test_nothing_without_the_token(self):
        self.assertEqual(ask(self.url + "/api")[0], 200)
        for path in ("/api/kernels", "/api/kernelspecs", "/api/sessions", "/api/terminals", "/api/status", "/api/me", "/nothing"):
            for headers in ({}, {"Authorization": "token wrong"}, {"Authorization": self.token}, {"Authorization": "token"},
                            {"Authorization": "Basic " + self.token}):
                status, _, body = ask(self.url + path, **headers)
                self.assertEqual(status, 403, (path, headers))
                self.assertIn("towline gateway HOST", body["message"])
            self.assertEqual(ask(self.url + path + "?token=wrong")[0], 403)
            self.assertEqual(ask(f"{self.url}/token/wrong{path}")[0], 403)

    def test_every_way_to_give_the_token(self):
        for path, headers in (("/api/me", {"Authorization": "token " + self.token}), ("/api/me", {"Authorization": "Bearer " + self.token}),
                              ("/api/me?token=" + self.token, {}), (f"/token/{self.token}/api/me", {}),
                              (f"/api/me?1700000000000&token={self.token}", {})):
            self.assertEqual(ask(self.url + path, **headers)[0], 200, path)

    def test_foreign_names_and_pages_are_refused(self):
        self.assertEqual(self.ask("/api/me", Host="evil.example")[0], 421)
        self.assertEqual(self.ask("/api/me", Host=f"evil.example:{self.gateway['port']}")[0], 421)
        self.assertEqual(self.ask("/api/me", Host=f"127.0.0.1:{self.gateway['port']}")[0], 200)
        self.assertEqual(self.ask("/api/me", Origin="http://evil.example")[0], 403)
        self.assertEqual(self.ask("/api/me", Origin="null")[0], 403)
        self.assertEqual(self.ask("/api/me", method="OPTIONS", Origin="http://evil.example")[0], 403)
        status, headers, _ = self.ask("/api/me")
        self.assertIsNone(headers.get("access-control-allow-origin"))

    def test_an_origin_that_was_allowed(self):
        self.local.towline("gateway", "--allow-origin", "http://localhost:8888", "demo", timeout=SLOW)
        self.addCleanup(self.local.towline, "gateway", "--allow-origin", "", "demo", timeout=SLOW)
        status, headers, _ = ask(self.url + "/api/kernels", method="OPTIONS", Origin="http://localhost:8888")
        self.assertEqual((status, headers["access-control-allow-origin"]), (204, "http://localhost:8888"))
        self.assertEqual(self.ask("/api/me", Origin="http://localhost:8888")[0], 200)
        self.assertEqual(ask(self.url + "/api/me", Origin="http://localhost:8888")[0], 403)
        self.assertEqual(self.ask("/api/me", Origin="http://localhost:8889")[0], 403)
        r = self.local.towline("gateway", "--allow-origin", "http://x/y", "demo", check=False, timeout=SLOW)
        self.assertEqual(r.returncode, 2)
        self.assertIn("an origin looks like", r.stderr)

    def test_the_token_opens_nothing_else(self):
        client = self.local.client()
        status = client.call("daemon/status")
        self.assertEqual(ask(status["origin"] + "/api/kernels", self.token)[0], 404)
        self.assertNotIn(self.token, json.dumps(status))

    def test_odd_requests(self):
        self.assertEqual(self.ask("/api/contents")[0], 404)
        self.assertEqual(self.ask("/api/kernels", method="PUT", body={})[0], 405)
        self.assertEqual(self.ask("/api/kernels/8387e181-2b76-43fa-ac2d-ea50af2d8c7c")[0], 404)
        self.assertEqual(self.ask("/api/kernels", method="POST", body={"name": "nonsense"})[0], 404)
        self.assertEqual(self.ask("/api/sessions", method="POST", body={"path": "a", "kernel": {"name": "nonsense"}})[0], 501)
        self.assertEqual(self.ask("/api/sessions", method="POST", body={})[0], 400)
        self.assertEqual(self.ask("/kernelspecs/python3/..%2f..%2fkernel.json")[0], 404)
        self.assertEqual(self.ask("/kernelspecs/python3/kernel.json")[0], 404)
        c = http.client.HTTPConnection("localhost", self.gateway["port"], timeout=SLOW)
        c.request("POST", "/api/kernels", "{", {"Authorization": "token " + self.token})
        self.assertEqual(c.getresponse().status, 400)
        c.close()
        c = http.client.HTTPConnection("localhost", self.gateway["port"], timeout=SLOW)
        c.putrequest("POST", "/api/kernels")
        c.putheader("Content-Length", str(1 << 40))
        c.putheader("Authorization", "token " + self.token)
        c.endheaders()
        self.assertEqual(c.getresponse().status, 413)
        c.close()

    def test_websockets_are_asked_the_same(self):
        def upgrade(path, **headers):
            c = http.client.HTTPConnection("localhost", self.gateway["port"], timeout=SLOW)
            c.request("GET", path, headers={"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                                            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", **headers})
            status = c.getresponse().status
            c.close()
            return status
        path = "/api/kernels/8387e181-2b76-43fa-ac2d-ea50af2d8c7c/channels"
        self.assertEqual(upgrade(path), 403)
        self.assertEqual(upgrade(path + "?token=wrong"), 403)
        self.assertEqual(upgrade(path + "?token=" + self.token, Origin="http://evil.example"), 403)
        self.assertEqual(upgrade(path + "?token=" + self.token, Host="evil.example"), 421)
        self.assertEqual(upgrade("/api/kernels?token=" + self.token), 404)
        self.assertEqual(upgrade(path + "?token=" + self.token), 101)

    def test_commands(self):
        again = json.loads(self.local.towline("gateway", "--json", "demo", timeout=SLOW).stdout)
        self.assertEqual(again, self.gateway)
        text = self.local.towline("gateway", "demo", timeout=SLOW)
        self.assertEqual(text.stdout, f"url    {self.url}\ntoken  {self.token}\n")
        self.assertEqual(self.local.towline("gateway", "--list").stdout, f"{self.url}  demo\n")
        r = self.local.towline("gateway", "--port", str(self.host.port), "demo", check=False, timeout=SLOW)
        self.assertEqual(r.returncode, 81)
        self.assertEqual(self.ask("/api/me")[0], 200)
        r = self.local.towline("gateway", "--stop", "elsewhere", check=False)
        self.assertEqual(r.returncode, 20)
        self.assertIn("no gateway to elsewhere", r.stderr)


class Survival(Base):
    def test_port_and_token_outlive_the_daemon_and_stop_ends_them(self):
        started = self.ask("/api/kernels", method="POST", body={"name": "python3"})
        self.assertEqual(started[0], 201)
        self.assertEqual(started[1]["location"], "/api/kernels/" + started[2]["id"])
        self.assertRegex(started[2]["last_activity"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
        os.kill(self.local.pid(), signal.SIGKILL)
        self.local.towline("status")
        # the first request brings the host back
        self.assertEqual([k["id"] for k in self.ask("/api/kernels")[2]], [started[2]["id"]])
        # a user who closes the host means it
        self.local.towline("close", "demo")
        status, _, body = self.ask("/api/kernels")
        self.assertEqual(status, 503)
        self.assertIn("closed by its user", body["message"])
        self.local.towline("connect", "demo", timeout=SLOW)
        self.assertEqual(self.ask(f"/api/kernels/{started[2]['id']}", method="DELETE")[0], 204)
        self.assertEqual(self.ask("/api/kernels")[2], [])
        self.local.towline("gateway", "--stop", "demo")
        with self.assertRaises(OSError):
            ask(self.url + "/api")
        fresh = json.loads(self.local.towline("gateway", "--json", "--port", str(self.gateway["port"]), "demo", timeout=SLOW).stdout)
        self.assertEqual(fresh["port"], self.gateway["port"])
        self.assertEqual(self.ask("/api/kernels")[0], 403)
        self.assertEqual(ask(fresh["url"] + "/api/kernels", fresh["token"])[0], 200)


class Programs(Base):
    """Debian's nbconvert and notebook server."""

    def setUp(self):
        self.env = dict(self.local.env, JUPYTER_GATEWAY_URL=self.url, JUPYTER_GATEWAY_AUTH_TOKEN=self.token, PATH="/usr/bin:/bin",
                        JUPYTER_CONFIG_DIR=os.path.join(self.local.dir, "jupyter"), PYTHONWARNINGS="ignore",
                        # this version of it sends no token with WebSockets
                        JUPYTER_GATEWAY_WS_URL=f"{self.url.replace('http', 'ws')}/token/{self.token}")

    def notebook(self, kernel, *cells):
        path = os.path.join(self.local.home, f"{kernel}.ipynb")
        with open(path, "w") as f:
            json.dump({"cells": [{"cell_type": "code", "execution_count": None, "id": f"c{i}", "metadata": {}, "outputs": [],
                                  "source": c} for i, c in enumerate(cells)],
                       "metadata": {"kernelspec": {"name": kernel, "display_name": kernel, "language": ""}},
                       "nbformat": 4, "nbformat_minor": 5}, f)
        return path

    def convert(self, path):
        # this version's manager forgets which kernel it is to start
        with open(os.path.join(self.local.dir, "named_manager.py"), "w") as f:
            f.write("from jupyter_server.gateway.managers import GatewayKernelManager\n"
                    "class Named(GatewayKernelManager):\n"
                    "    async def start_kernel(self, **kw):\n"
                    "        await super().start_kernel(**{'kernel_name': self.kernel_name, **kw})\n")
        run(["/usr/bin/jupyter-nbconvert", "--to", "notebook", "--execute", "--inplace",
             "--ExecutePreprocessor.kernel_manager_class=named_manager.Named", path],
            env=dict(self.env, PYTHONPATH=self.local.dir), cwd=self.local.home, timeout=SLOW)
        with open(path) as f:
            return [c["outputs"] for c in json.load(f)["cells"]]

    def test_nbconvert_runs_python_on_the_host(self):
        out = self.convert(self.notebook("python3", "import os\nprint(os.path.expanduser('~'))", "6 * 7"))
        self.assertEqual("".join(out[0][0]["text"]), self.host.home + "\n")
        self.assertEqual(out[1][0]["data"]["text/plain"], ["42"])
        self.assertEqual(self.ask("/api/kernels")[2], [])

    def test_nbconvert_runs_r(self):
        out = self.convert(self.notebook("ir", "cat(1 + 1, '\\n')", "summary(c(1, 2, 3))[['Max.']]"))
        self.assertEqual("".join(out[0][0]["text"]), "2 \n")
        self.assertEqual("".join(out[1][0]["data"]["text/plain"]), "[1] 3")

    def test_notebook_server_with_gateway_url(self):
        port = free_port()
        path = self.notebook("python3", "1")
        p = spawn(["/usr/bin/jupyter-server", "--no-browser", f"--port={port}", "--ServerApp.token=t", "--ServerApp.ip=127.0.0.1",
                   "--ServerApp.allow_root=True", "--gateway-url", self.url], env=self.env, cwd=self.local.home,
                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(p.kill)
        wait_port(port, SLOW)
        url = f"http://127.0.0.1:{port}"
        specs = wait_for(lambda: ask(url + "/api/kernelspecs", "t"), SLOW, "the notebook server")
        self.assertEqual(set(specs[2]["kernelspecs"]) & {"python3", "ir"}, {"python3", "ir"})
        made = ask(url + "/api/sessions", "t", "POST", {"path": os.path.basename(path), "name": "n", "type": "notebook",
                                                        "kernel": {"name": "python3"}})
        self.assertEqual(made[0], 201, made[2])
        kid = made[2]["kernel"]["id"]
        self.assertEqual([k["id"] for k in self.ask("/api/kernels")[2]], [kid])
        code = f"""
import json, websocket, uuid
w = websocket.create_connection("ws://127.0.0.1:{port}/api/kernels/{kid}/channels?token=t", timeout={SLOW})
head = lambda t: dict(msg_id=uuid.uuid4().hex, msg_type=t, session="s", username="u", version="5.3", date="2024-01-01T00:00:00.000000Z")
def send(kind, **content):
    w.send(json.dumps(dict(channel="shell", header=head(kind), parent_header={{}}, metadata={{}}, buffers=[], content=content)))
# this version of the server loses what comes before its own connection is up
w.settimeout(1)
while True:
    send("kernel_info_request")
    try:
        if json.loads(w.recv())["msg_type"] != "": break
    except websocket.WebSocketTimeoutException:
        pass
w.settimeout({SLOW})
send("execute_request", code="import os; print(os.path.expanduser('~'))", silent=False, store_history=True, user_expressions={{}},
     allow_stdin=False)
text, done = "", set()
while len(done) < 2:
    m = json.loads(w.recv())
    if m["msg_type"] == "stream": text += m["content"]["text"]
    if m["msg_type"] == "execute_reply": done.add("reply")
    if m["msg_type"] == "status" and m["content"]["execution_state"] == "idle" and m["parent_header"].get("msg_type") == "execute_request":
        done.add("idle")
print(text, end="")
"""
        r = run(["/usr/bin/python3", "-c", code], env=self.env, timeout=SLOW)
        self.assertEqual(r.stdout, self.host.home + "\n")
        self.assertEqual(ask(f"{url}/api/kernels/{kid}/interrupt", "t", "POST", {})[0], 204)
        self.assertEqual(ask(f"{url}/api/sessions/{made[2]['id']}", "t", "DELETE")[0], 204)
        wait_for(lambda: self.ask("/api/kernels")[2] == [], SLOW, "the kernel to be gone")
