"""Session tickets: when they come, and which connections they resume."""

import os
import signal
import time

from tlslite.errors import TLSLocalAlert
from wire import TLS12, TLS13, connect, run, version_of


def tickets(connection):
    """How many tickets have come."""
    return len(connection.tickets) + len(connection.session.tls_1_0_tickets or [])


def come_early(address, version):
    """Tickets come with or before the first answer, and none later."""
    connection = connect(address, version_of(version))
    assert connection.get()[0] == 200
    count = tickets(connection)
    assert count > 0, "no ticket"
    for ticket in connection.tickets:
        assert not ticket.extensions, "a ticket that allows early data, or says something else"
    for _ in range(3):
        connection.assert_silence(0.3)
        assert connection.get()[0] == 200
    assert tickets(connection) == count, "a late ticket"


def resume(address, version, pid):
    """A ticket resumes its session, more than once, and after a reload of the server."""
    version = version_of(version)
    first = session_of(address, version, "localhost")
    for attempt in range(4):
        if attempt == 2:
            os.kill(int(pid), signal.SIGHUP)
            time.sleep(1)
        connection = connect(address, version, session=first)
        assert connection.resumed, attempt
        assert connection.get()[0] == 200
        connection.assert_silence(0.3)


def stay_with_their_host(address, version, *names):
    """A ticket of one host is of no use at another: there the handshake is a whole one."""
    version = version_of(version)
    for own in names:
        for other in names:
            session = session_of(address, version, own)
            # The library keeps to this rule itself.
            session.serverName = other
            assert resumes(address, version, other, session) == (own == other), (own, other)


def resumes(address, version, name, session):
    """Whether the server resumes the session. If it does not, it shows its certificate."""
    try:
        connection = connect(address, version, name, session)
    except TLSLocalAlert as alert:
        # tlslite-ng takes for granted that a ticket of TLS 1.2 resumes its session.
        assert version == TLS12 and "got certificate" in str(alert), alert
        return False
    assert connection.get()[0] == 200
    return connection.resumed


def stay_with_their_version(address):
    """A client that no longer offers the version of its session gets a whole handshake."""
    session = session_of(address, TLS13, "localhost")
    assert not connect(address, TLS12, session=session).resumed
    session = session_of(address, TLS12, "localhost")
    session.sessionID = bytearray()
    assert not connect(address, TLS13, session=session).resumed


def session_of(address, version, name):
    """The session of a connection that is over."""
    connection = connect(address, version, name)
    assert not connection.resumed
    assert connection.get()[0] == 200
    session = connection.session
    connection.close()
    return session


run(globals())
