"""Records of every size, and records that are cut, empty or too long (RFC 8446 section 5)."""

import time

from tlslite.constants import AlertDescription, ContentType
from tlslite.messages import ApplicationData, Message
from wire import APPLICATION_DATA, HANDSHAKE, TLS12, TLS13
from wire import Connection, connect, expect_refusal, request, run, version_of

MOST = 2**14
# Less than limits.body_bytes, so that the connection persists.
BODY_BYTES = 1_000_000


def every_size(address, version):
    """Request bodies in records of each size from 1 to 16,384 bytes."""
    connection = connect(address, version_of(version))
    size = 1
    while size <= MOST:
        sizes = []
        while size <= MOST and sum(sizes) + size <= BODY_BYTES:
            sizes.append(size)
            size += 1
        connection.tell(ApplicationData().create(request(fields=f"Content-Length: {sum(sizes)}\r\n")))
        for each in sizes:
            connection.tell(ApplicationData().create(bytearray(each)))
        assert connection.answer()[0] == 200, sizes[0]


def every_padding(address):
    """Requests with padding, up to the longest record that TLS 1.3 has."""
    padding = 0

    def prepare(connection, settings):
        settings.padding_cb = lambda length, kind, most: padding if kind == APPLICATION_DATA else 0

    connection = connect(address, TLS13, prepare=prepare)
    most = MOST - len(request())
    for padding in [*range(0, 300), *range(300, most, 13), most]:
        assert connection.get()[0] == 200, padding


def one_byte_a_segment(address, version):
    """Each byte of a connection arrives alone."""

    def prepare(connection, settings):
        connection.wire.cut = one_by_one

    connection = connect(address, version_of(version), prepare=prepare)
    for _ in range(2):
        assert connection.get()[0] == 200
    connection.assert_silence(0.3)


def one_by_one(data):
    return [data[at : at + 1] for at in range(len(data))]


def split_requests(address, version):
    """A request in two records, cut at each of its bytes; and each byte in a record of its own."""
    connection = connect(address, version_of(version))
    whole = request()
    for at in range(1, len(whole)):
        connection.write(whole[:at])
        connection.write(whole[at:])
        assert connection.get()[0] == connection.answer()[0] == 200, at
    for byte in one_by_one(whole):
        connection.write(byte)
    assert connection.answer()[0] == 200
    # Many requests in one record.
    connection.write(whole * 50)
    assert {connection.answer()[0] for _ in range(50)} == {200}


def split_handshakes(address, version):
    """The messages of a client's handshake, in fragments of each of these sizes."""
    for size in [1, 2, 3, 4, 5, 7, 16, 33, 64, 100, 200, 255, 256, 300, 500]:

        def prepare(connection, settings):
            connection.recordSize = size

        connection = connect(address, version_of(version), prepare=prepare)
        connection.recordSize = MOST
        assert connection.get()[0] == 200, size


def empty():
    # A new message each time, because sending changes it.
    return ApplicationData().create(bytearray())


def some_empty(address, version):
    """Empty records before, in and after a request change nothing."""
    connection = connect(address, version_of(version))
    whole = request()
    for _ in range(8):
        connection.tell(empty())
    connection.write(whole[:10])
    for _ in range(8):
        connection.tell(empty())
    connection.write(whole[10:])
    assert connection.answer()[0] == 200
    for _ in range(8):
        connection.tell(empty())
    connection.assert_silence(0.3)
    assert connection.get()[0] == 200


def only_empty(address, version, most_secs):
    """A client that sends nothing but empty records, within a head and before it, is closed in time."""
    for begin in [b"", request()[:10]]:
        connection = connect(address, version_of(version))
        if begin:
            connection.write(begin)
        start = time.monotonic()
        count = 0
        try:
            # Session tickets are not the end.
            while not connection.wire.is_readable(0.001) or connection.wire.recv(65536):
                assert time.monotonic() - start < float(most_secs), f"{count} empty records keep it open"
                connection.tell(empty())
                count += 1
        except ConnectionError:
            pass
        print(f"closed after {count} empty records")


def too_long(address, version):
    """A record that is longer than any may be: an alert and the end at once, not a wait for its rest."""
    for is_in_handshake in [True, False]:
        kind = HANDSHAKE if is_in_handshake else APPLICATION_DATA
        header = bytes([kind, 3, 3]) + (MOST + 2049).to_bytes(2, "big")
        if is_in_handshake:
            connection = Connection(address)
            connection._handshakeStart(client=True)
            connection.version = TLS12
        else:
            connection = used(address, version)
        connection.wire.sendall(header + bytes(100))
        # rustls says decode_error, where RFC 8446 section 5.2 demands record_overflow.
        expect_refusal(connection, AlertDescription.record_overflow, AlertDescription.decode_error)


def garbled(address, version):
    """A record whose tag is wrong: an alert and the end."""
    connection = used(address, version)
    header = bytes([APPLICATION_DATA, 3, 3]) + (1000).to_bytes(2, "big")
    connection.wire.sendall(header + bytes(1000))
    expect_refusal(connection, AlertDescription.bad_record_mac)


def unknown_type(address, version):
    """A record of a type that does not exist: an alert and the end."""
    connection = used(address, version)
    connection.tell(Message(ContentType.heartbeat + 1, bytearray(10)))
    expect_refusal(connection, AlertDescription.unexpected_message, AlertDescription.decode_error)


def used(address, version):
    """A connection that has got its tickets and an answer."""
    connection = connect(address, version_of(version))
    assert connection.get()[0] == 200
    return connection


run(globals())
