"""The end of a connection: half-closed by the client, closed by the server, or by both."""

import socket
import time

from tlslite.constants import AlertDescription, AlertLevel
from tlslite.messages import Alert
from wire import connect, request, run, version_of


def close_notify():
    return Alert().create(AlertDescription.close_notify, AlertLevel.warning)


def half_close(address, version):
    """Whether the client's side ends with the alert, the FIN or both: a whole request is answered."""
    for has_alert, has_fin in [(True, True), (True, False), (False, True)]:
        connection = connect(address, version_of(version))
        connection.write(request())
        if has_alert:
            connection.tell(close_notify())
        if has_fin:
            connection.wire.shutdown(socket.SHUT_WR)
        status, body = connection.answer()
        assert (status, bool(body)) == (200, True), (has_alert, has_fin, status)
        connection.expect_end(2)


def half_close_in_a_head(address, version):
    """The rest of a head can no longer come, so the connection ends without a wait for it."""
    for has_fin in [True, False]:
        connection = connect(address, version_of(version))
        connection.write(request()[:-2])
        connection.tell(close_notify())
        if has_fin:
            connection.wire.shutdown(socket.SHUT_WR)
        start = time.monotonic()
        connection.wire.rest()
        assert time.monotonic() - start < 2, "the server waits for a head that has ended"


def idle_close(address, version, open_secs):
    """After the time that was promised: the alert and the FIN, and no byte before."""
    open_secs = float(open_secs)
    connection = connect(address, version_of(version))
    assert connection.get()[0] == 200
    connection.assert_silence(open_secs - 0.1)
    assert connection.wire.is_readable(2), "not closed"
    rest = connection.wire.rest()
    # The server has closed its side only: the client's own alert draws no reset.
    connection.tell(close_notify())
    assert not connection.wire.rest()
    connection.wire.shutdown(socket.SHUT_WR)
    time.sleep(0.2)
    assert not connection.wire.rest()
    connection.wire.given_back = rest
    connection.expect_end(0)


def client_closes(address, version):
    """An idle client closes, and sees the server's end, not a reset."""
    connection = connect(address, version_of(version))
    assert connection.get()[0] == 200
    connection.tell(close_notify())
    connection.wire.shutdown(socket.SHUT_WR)
    connection.wire.rest()


def crossing(address, version):
    """A request crosses the server's close."""
    connection = connect(address, version_of(version))
    assert connection.get()[0] == 200
    assert connection.wire.is_readable(10), "not closed"
    connection.write(request())
    connection.expect_end()


run(globals())
