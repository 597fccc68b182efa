"""Makes a mio-chat on loopback refuse people for every reason that can be had there.

strangers.py PLAIN_PORT TLS_ADDRESS TLS_PORT SERVER_PID DIRECTORY: the server allows 12 connections in
all and 10 from one address, and was started in DIRECTORY. Prints the addresses that were refused for
what they did, once for each time. A few are refused for what is not their fault: those it leaves out.
"""

import os, signal, socket, ssl, sys, time

plain, tls = ("127.0.0.1", int(sys.argv[1])), (sys.argv[2], int(sys.argv[3]))
server, directory = int(sys.argv[4]), sys.argv[5]
PATIENCE = 20


def connect(to=plain, source=None):
    return socket.create_connection(to, PATIENCE, source and (source, 0))


def to_end(sock):
    """What comes until the server closes."""
    got = b""
    try:
        while piece := sock.recv(4096):
            got += piece
    except ConnectionResetError:
        pass
    sock.close()
    return got


def say(sock, text, answer):
    sock.sendall(text.encode() + b"\n")
    got = b""
    while answer.encode() not in got:
        piece = sock.recv(4096)
        assert piece, f"closed instead of {answer}: {got}"
        got += piece


def speak(text, to=plain):
    sock = connect(to)
    sock.sendall(text.encode() + b"\n")
    to_end(sock)


def fail_to_shake_hands(to):
    """Trusts nobody, so that it breaks off where the server speaks TLS at all."""
    try:
        ssl.create_default_context().wrap_socket(connect(to), server_hostname="localhost")
    except (ssl.SSLError, ConnectionResetError):
        return
    raise AssertionError("a handshake succeeded")


refused = []
stalled = connect(tls)
stalled.sendall(b"\x16\x03\x01\x02\x00\x01")
silent = connect(tls)  # left out

for words in ["SSH-2.0-OpenSSH_9.2", "a\nb\nc\nd\nadmin"]:
    speak(words)
    refused.append(plain)
speak("GET / HTTP/1.1")  # left out, and so on to the next empty line
fail_to_shake_hands(plain)
speak("PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r")

# What people are called and say is no refusal, whatever it looks like.
forged = "[WARN] refused 192.0.2.9 - too many connections"
alice, bob = connect(), connect()
say(alice, "refused", "joined the lobby")
say(bob, "bob", "joined the lobby")
say(bob, f"2026-01-01T00:00:00Z {forged}", "192.0.2.9")
say(alice, f"/create WARN secret {forged}", "Created private")
for _ in range(3):
    say(bob, "/join WARN wrong", "Incorrect password")
refused.append(plain)
for _ in range(2):  # left out
    say(bob, "/join WARN secret", "Too many wrong passwords")

for words in ["garbage", "GET / HTTP/1.1", "SSH-2.0-OpenSSH_9.2"]:  # left out
    speak(words, tls)
hello = connect(tls)
hello.sendall(b"\x16\x03\x01\x00\x04\0\0\0\0")
to_end(hello)
refused.append(tls)
fail_to_shake_hands(tls)  # left out
assert b"This port speaks TLS" in to_end(silent)
to_end(stalled)
refused.append(tls)

crowd = [connect() for _ in range(8)]
for n, one in enumerate(crowd):  # who has no name gives place
    say(one, f"one{n}", "joined the lobby")
for _ in range(5):
    assert b"Too many connections" in to_end(connect())
refused.append(plain)  # once a minute
others = [connect(source="127.0.0.2") for _ in range(2)]
for n, one in enumerate(others):
    say(one, f"other{n}", "joined the lobby")
assert b"Server is full" in to_end(connect(source="127.0.0.3"))  # left out
for one in [alice, bob, *crowd, *others]:
    one.close()

for _ in range(9):
    time.sleep(1.05)
    speak("a\nb\nc\nd\nadmin")
    refused.append(plain)

with open(os.path.join(directory, ".env"), "w") as env:
    env.write("CHAT_DENY_FROM=127.0.0.4\n")
os.kill(server, signal.SIGHUP)
deadline = time.monotonic() + PATIENCE
while connect(source="127.0.0.4").recv(1):
    assert time.monotonic() < deadline, "the settings were not read again"
    time.sleep(0.1)
refused.append(("127.0.0.4", 0))

for address, _ in refused:
    print(address)
