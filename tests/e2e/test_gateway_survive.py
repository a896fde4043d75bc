"""A loop that prints many lines while everything between it and its client goes away: closed, cut, killed, asleep. Another client then
gets every line, once and in order. TOWLINE_LINES=1000000 and TOWLINE_ASLEEP=600 (seconds) make it the long run of docs/testing.md."""
# parallel: ok
import json
import os
import signal
import time
import unittest

from harness import Daemon, Sshd, run, wait_for

SLOW = 120
LINES = int(os.environ.get("TOWLINE_LINES", "50000"))
ASLEEP = float(os.environ.get("TOWLINE_ASLEEP", "0"))

CLIENT = r"""
import json, sys, time, uuid, websocket
url, session, code = sys.argv[1:4]
w = websocket.create_connection(f"{url}&session_id={session}", timeout=3600)
if code:
    w.send(json.dumps(dict(channel="shell", parent_header={}, metadata={}, buffers=[], header=dict(msg_id=uuid.uuid4().hex, username="u",
        msg_type="execute_request", session=session, version="5.3", date="2024-01-01T00:00:00.000000Z"), content=dict(code=code,
        silent=False, store_history=True, user_expressions={}, allow_stdin=False, stop_on_error=True))))
done = False
while not done:
    m = json.loads(w.recv())
    if m["msg_type"] == "stream":
        sys.stdout.write(m["content"]["text"])
        # the first client leaves in the middle
        if code: break
    done = m["msg_type"] == "execute_reply"
w.close()
"""


class Survive(unittest.TestCase):
    def test_every_line_once_and_in_order(self):
        host = Sshd(test=self)
        local = Daemon(host, test=self)
        gateway = json.loads(local.towline("gateway", "--json", "demo", timeout=SLOW).stdout)
        kernel = json.loads(run(["curl", "-sf", "-X", "POST", "-H", "Authorization: token " + gateway["token"], "-d",
                                 '{"name":"python3"}', gateway["url"] + "/api/kernels"], timeout=SLOW).stdout)["id"]
        url = f"ws://localhost:{gateway['port']}/api/kernels/{kernel}/channels?token={gateway['token']}"

        def client(code=""):
            return run(["/usr/bin/python3", "-c", CLIENT, url, "one", code], timeout=max(SLOW, LINES / 500)).stdout

        def state():
            return json.loads(local.towline("sessions", "--json", "demo", timeout=SLOW).stdout)["kernels"][0]["state"]
        gate = os.path.join(host.home, "gate")
        first = client(f"import os, time\nprint('begun', flush=True)\nwhile not os.path.exists({gate!r}): time.sleep(0.05)\n"
                       f"for i in range({LINES}):\n    print('line', i)\n"
                       f"    if i % {LINES // 20} == 0: time.sleep(0.1)\n")
        self.assertEqual(first, "begun\n")
        # nobody watches; ssh goes, then the agent, then this machine sleeps
        host.remote("touch ~/gate")
        host.drop_connections()
        host.kill_agent()
        daemon = local.pid()
        os.kill(daemon, signal.SIGSTOP)
        try:
            time.sleep(ASLEEP)  # the opt-in run: ten minutes
        finally:
            os.kill(daemon, signal.SIGCONT)
        host.kill_agent()
        wait_for(lambda: state() == "idle", max(SLOW, LINES / 500), "the loop to end")
        rest = client()
        self.assertNotIn("bytes of output are gone", rest)
        self.assertTrue(rest == "".join(f"line {i}\n" for i in range(LINES)), f"{len(rest.splitlines())} of {LINES} lines, or not in order")


if __name__ == "__main__":
    unittest.main()
