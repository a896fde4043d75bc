"""A helper program: an SSH server (paramiko) that asks two questions in one round and a third in the next, as
one-time-code systems do. Started with the system's Python, where Debian's paramiko is.

two_questions.py HOST_KEY [key]   prints its port; with `key` a public key comes first (any is right)
"""
import socket
import subprocess
import sys
import threading

import paramiko


class Login(paramiko.ServerInterface):
    def __init__(self, key):
        self.key, self.key_seen, self.round = key, False, 0

    def get_allowed_auths(self, username):
        return "publickey" if self.key and not self.key_seen else "keyboard-interactive"

    def check_auth_publickey(self, username, key):
        if not self.key:
            return paramiko.AUTH_FAILED
        self.key_seen = True
        return paramiko.AUTH_PARTIALLY_SUCCESSFUL

    def check_auth_interactive(self, username, submethods):
        if self.key and not self.key_seen:
            return paramiko.AUTH_FAILED
        self.round = 1
        return paramiko.InteractiveQuery("Two things", "Answer both.", ("Name of the ship: ", True), ("Secret: ", False))

    def check_auth_interactive_response(self, responses):
        if self.round == 1 and responses == ["Alma", "s3cret"]:
            self.round = 2
            return paramiko.InteractiveQuery("", "", ("Code: ", True))
        return paramiko.AUTH_SUCCESSFUL if self.round == 2 and responses == ["424242"] else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED if kind == "session" else paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_exec_request(self, channel, command):
        threading.Thread(target=run, args=(channel, command.decode()), daemon=True).start()
        return True


def run(channel, command):
    p = subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)

    def feed():
        while True:
            data = channel.recv(65536)
            if not data:
                break
            p.stdin.write(data)
        p.stdin.close()
    threading.Thread(target=feed, daemon=True).start()
    while True:
        data = p.stdout.read(65536)
        if not data:
            break
        channel.sendall(data)
    channel.send_exit_status(p.wait())
    channel.close()


def serve(sock, host_key, key):
    t = paramiko.Transport(sock)
    t.add_server_key(host_key)
    t.start_server(server=Login(key))
    channels = []  # one that nobody holds is closed
    while t.is_active():
        channels.append(t.accept(1))


def main():
    host_key = paramiko.ECDSAKey.from_private_key_file(sys.argv[1])
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock, host_key, "key" in sys.argv[2:]), daemon=True).start()


main()
