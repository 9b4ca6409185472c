"""Connections whose bytes arrive in two TCP segments, cut at each byte of the handshake and of the request."""

import concurrent.futures
import itertools
import socket
import ssl
import time

from wire import request, run

# Long enough for the server to read the first segment alone, and to act upon it.
BETWEEN_SECS = 0.003
TOGETHER = 4


def cut_everywhere(address, version, authority):
    """The answer is the same, wherever the bytes are cut."""
    context = ssl.create_default_context(cafile=authority)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[f"TLSv{version.replace('.', '_')}"]
    context.set_alpn_protocols(["http/1.1"])
    expected, total = exchange(address, context, None)
    assert expected.startswith(b"HTTP/1.1 200 "), expected
    with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
        exchanges = pool.map(lambda at: exchange(address, context, at), range(1, total))
        for at, (answer, _) in enumerate(exchanges, 1):
            assert answer == expected, (at, answer)
    print(f"{total - 1} cuts")


def exchange(address, context, cut):
    """Sends one request on a connection of its own, with a pause before its byte `cut`. Returns the answer
    without its date, and how many bytes have been sent."""
    host, port = address.rsplit(":", 1)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sent = 0

        def flush(data):
            nonlocal sent
            pieces = [data]
            if cut is not None and sent < cut < sent + len(data):
                pieces = [data[: cut - sent], data[cut - sent :]]
            for number, piece in enumerate(pieces):
                if number:
                    time.sleep(BETWEEN_SECS)
                connection.sendall(piece)
            sent += len(data)

        def step(action):
            while True:
                try:
                    return action()
                except ssl.SSLWantReadError:
                    if outgoing.pending:
                        flush(outgoing.read())
                    data = connection.recv(65536)
                    incoming.write(data) if data else incoming.write_eof()

        step(session.do_handshake)
        # The end of the handshake goes out together with the request.
        session.write(request(fields="Connection: close\r\n"))
        flush(outgoing.read())
        pieces = iter(lambda: step(lambda: session.read(65536)), b"")
        answer = b"".join(itertools.takewhile(bool, pieces))
    lines = answer.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.startswith(b"Date:")), sent


run(globals())
