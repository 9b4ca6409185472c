"""Updates of the keys of TLS 1.3 (RFC 8446 section 4.6.3)."""

from pathlib import Path

from tlslite.errors import TLSAbruptCloseError, TLSRemoteAlert
from wire import connect, request, run

PIECE = 64 * 1024


def in_a_download(address, target, file):
    """Both sides change their keys while a file is sent, and each byte of it arrives."""
    expected = Path(file).read_bytes()
    connection = connect(address)
    connection.write(request(target))
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.read()
    received = bytearray(received.partition(b"\r\n\r\n")[2])
    updates = 0
    while len(received) < len(expected):
        if len(received) // (len(expected) // 10) > updates:
            updates += 1
            connection.update_key(is_answer_wanted=updates % 2 == 1)
        received += connection.read(PIECE)
    assert received == expected, "other bytes"
    assert updates == 9, updates
    # The server may have read none of the updates before the end of its answer.
    assert connection.get()[0] == 200
    assert connection.key_updates >= 1, "the server kept its key"
    connection.assert_silence(0.3)


def while_idle(address):
    """The server changes its key with the next answer, and sends nothing before it."""
    connection = connect(address)
    assert connection.get()[0] == 200
    connection.assert_silence(0.3)
    for _ in range(3):
        connection.update_key(is_answer_wanted=True)
        connection.assert_silence(0.3)
    assert connection.get()[0] == 200
    updates = connection.key_updates
    assert updates >= 1, "the server kept its key"
    connection.assert_silence(0.3)
    connection.update_key(is_answer_wanted=False)
    connection.assert_silence(0.3)
    assert connection.get()[0] == 200
    assert connection.key_updates == updates, "nobody asked for another key"
    connection.assert_silence(0.3)


def too_many(address):
    """A client that does nothing but change its key is refused, or costs no bytes."""
    connection = connect(address)
    assert connection.get()[0] == 200
    try:
        for _ in range(10_000):
            connection.update_key(is_answer_wanted=True)
        assert connection.get()[0] == 200
        assert connection.key_updates == 1, connection.key_updates
    except (TLSRemoteAlert, TLSAbruptCloseError, ConnectionError) as error:
        print(f"refused: {error!r}")


run(globals())
