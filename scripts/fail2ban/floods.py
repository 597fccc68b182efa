"""Floods a mio-chat on loopback, beside innocents and others who are to be refused.

floods.py PLAIN_PORT TLS_ADDRESS TLS_PORT: the server has its usual limits. Prints a line for each
address: what it does, the address, and the fewest and most lines of the log in which it is to count.
"""

import socket, sys, threading, time

plain, tls = ("127.0.0.1", int(sys.argv[1])), (sys.argv[2], int(sys.argv[3]))
PATIENCE = 20
HELLO = bytes.fromhex("16030102000100 01fc0303") + bytes(500)  # RFC 8446, sections 4.1.2 and 5.1


def connect(source, to=plain):
    # An IPv6 address of loopback is the only one of its kind.
    source = (source, 0) if ":" not in to[0] else None
    return socket.create_connection(to, PATIENCE, source)


def to_end(sock):
    """What comes until the server closes."""
    got = b""
    try:
        while piece := sock.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    sock.close()
    return got


def speak(source, data, to=plain):
    sock = connect(source, to)
    sock.sendall(data)
    return to_end(sock)


def say(sock, text, answer):
    sock.sendall(text.encode() + b"\n")
    got = b""
    while answer.encode() not in got:
        piece = sock.recv(65536)
        assert piece, f"closed instead of {answer}: {got}"
        got += piece
    return got


def counts(what, source, least, most):
    sys.stdout.write(f"{what}\t{source}\t{least}\t{most}\n")  # in one piece


def get(n):
    return f"GET /{n}.png HTTP/1.1\r\nHost: chat\r\n\r\n".encode()


def browser(source):
    """Shows a page with ten pictures from either port, and ten over TLS from the plain one."""
    for n in range(10):
        speak(source, get(n))
        speak(source, HELLO)
        if ":" not in tls[0]:
            speak(source, get(n), tls)
    counts("pictures", source, 0, 0)


def member(source):
    """Mistypes three times, and then does not."""
    owner = connect("127.0.1.3")
    say(owner, "owner", "joined the lobby")
    say(owner, "/create club right password", "Created private")
    sock = connect(source)
    say(sock, "member", "joined the lobby")
    for _ in range(3):
        say(sock, "/join club wrong", "Incorrect password")
    time.sleep(8)  # so that the rate limit is kept
    for _ in range(7):
        time.sleep(2.1)
        say(sock, "/join club right", "Too many wrong passwords")
    sock.close()
    owner.close()
    counts("right passwords after wrong ones", source, 1, 1)


def hidden(stop):
    """Twenty with five wrong names each, beside four who ask for pages as fast as they can."""

    def flood(source):
        n = 0
        while not stop.is_set():
            speak(source, get(n))
            n += 1
        counts("pages", source, 0, 0)
        assert n > 100, f"{n} pages are no flood"

    floods = [threading.Thread(target=flood, args=[f"127.0.2.{n}"]) for n in range(1, 5)]
    for one in floods:
        one.start()
    time.sleep(1)
    for n in range(1, 21):
        assert b"Too many wrong usernames" in speak(f"127.0.3.{n}", b"a\nb\nc\nd\nadmin\n")
        counts("wrong names", f"127.0.3.{n}", 1, 1)
    time.sleep(2)
    stop.set()
    for one in floods:
        one.join()


def messages(source):
    sock = connect(source)
    say(sock, "talker", "joined the lobby")
    for _ in range(40):
        sock.sendall(b"spam\n" * 50)
        time.sleep(0.02)
    say(sock, "/quit", "Goodbye")
    counts("messages", source, 1, 2)


def looks(source):
    sock = connect(source)
    say(sock, "looker", "joined the lobby")
    for _ in range(40):
        sock.sendall(b"/sp list\n" * 5)
        sock.recv(65536)
    say(sock, "/quit", "Goodbye")
    counts("looks", source, 1, 2)


def lobbies(source):
    """Ten users of one address, since each may send but five lines in ten seconds."""
    users = [connect(source) for _ in range(10)]
    for n, sock in enumerate(users):
        say(sock, f"maker{n}", "joined the lobby")
    for n, sock in enumerate(users):
        for m in range(5):
            said = say(sock, f"/create den{n}-{m} x", "\n")
    for sock in users:
        sock.close()
    counts("lobbies", source, 1, 2)


def right_passwords(source):
    sock = connect(source)
    say(sock, "joiner", "joined the lobby")
    say(sock, "/create own right x", "Created private")
    for _ in range(100):
        sock.sendall(b"/join own right\n/join general\n")
        time.sleep(0.01)
    say(sock, "/quit", "Goodbye")
    counts("right passwords", source, 1, 2)


def connections(source):
    held = [connect(source) for _ in range(10)]
    for one in held:
        one.recv(1)
    for _ in range(50):
        assert b"Too many connections" in to_end(connect(source))
    for one in held:
        one.close()
    counts("connections", source, 1, 1)


def log_ins(source):
    told = False
    for n in range(60):
        sock = connect(source)
        sock.sendall(f"come{n}\n/quit\n".encode())
        told |= b"Too many log-ins" in to_end(sock)
    assert told, "nobody was told of the limit"
    counts("log-ins", source, 1, 1)


def new_names(source):
    """Says what one user may say, and comes back as another."""
    for n in range(30):
        sock = connect(source)
        sock.sendall(f"new{n}\n".encode() + b"spam\n" * 5)
        sock.sendall(b"/quit\n")
        to_end(sock)
    counts("messages under new names", source, 1, 2)


jobs = [
    (browser, "127.0.1.1"),
    (member, "127.0.1.2"),
    (hidden, threading.Event()),
    (messages, "127.0.4.1"),
    (looks, "127.0.4.2"),
    (lobbies, "127.0.4.3"),
    (right_passwords, "127.0.4.4"),
    (connections, "127.0.4.5"),
    (log_ins, "127.0.4.6"),
    (new_names, "127.0.4.7"),
]
failures = []


def run(what, argument):
    try:
        what(argument)
    except Exception as error:
        failures.append(f"{what.__name__}: {error!r}")


threads = [threading.Thread(target=run, args=job) for job in jobs]
for one in threads:
    one.start()
for one in threads:
    one.join()
sys.exit("; ".join(failures) or None)
