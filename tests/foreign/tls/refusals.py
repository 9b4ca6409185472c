"""What a TLS listener and a plain listener refuse."""

from tlslite.constants import AlertDescription, CipherSuite, ExtensionType
from tlslite.errors import TLSAbruptCloseError, TLSRemoteAlert
from tlslite.extensions import TLSExtension
from tlslite.handshakehelpers import HandshakeHelpers
from tlslite.messages import ClientHello
from tlslite.utils.cryptomath import HKDF_expand_label, derive_secret, secureHMAC
from wire import APPLICATION_DATA, TLS13, Connection, FastAesGcm, Wire, connect, expect_refusal
from wire import request, run, version_of


def renegotiation(address, version):
    """A second ClientHello is answered with an alert (RFC 5246 section 7.2.2), and never with a handshake."""
    connection = connect(address, version_of(version))
    assert connection.get()[0] == 200
    suites = [
        CipherSuite.TLS_EMPTY_RENEGOTIATION_INFO_SCSV,
        CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ]
    hello = ClientHello().create(version_of("1.2"), bytearray(32), bytearray(), suites)
    connection.tell(hello)
    expect_refusal(connection, AlertDescription.no_renegotiation, AlertDescription.unexpected_message)


class EarlyConnection(Connection):
    """A connection that sends a request as early data (RFC 8446 section 4.2.10)."""

    def __init__(self, address, session, early):
        super().__init__(address)
        self.resumed_session, self.early = session, early

    def _sendMsg(self, message, *arguments, **options):
        yield from super()._sendMsg(message, *arguments, **options)
        if isinstance(message, ClientHello):
            self.wire.sendall(self.early_record(message))

    def early_record(self, hello):
        session = self.resumed_session
        identity = hello.getExtension(ExtensionType.pre_shared_key).identities[0]
        key = HandshakeHelpers.calc_res_binder_psk(identity, session.resumptionMasterSecret, session.tickets)
        early_secret = secureHMAC(bytearray(32), key, "sha256")
        secret = derive_secret(early_secret, bytearray(b"c e traffic"), self._handshake_hash, "sha256")
        plaintext = self.early + bytes([APPLICATION_DATA])
        header = bytes([APPLICATION_DATA, 3, 3]) + (len(plaintext) + 16).to_bytes(2, "big")
        cipher = FastAesGcm(HKDF_expand_label(secret, b"key", b"", 16, "sha256"))
        nonce = HKDF_expand_label(secret, b"iv", b"", 12, "sha256")
        return header + cipher.seal(nonce, plaintext, header)


def early_data(address):
    """A request in early data gets no answer, also from a client that was not allowed to send any."""
    first = connect(address)
    assert first.get()[0] == 200
    update_binders = HandshakeHelpers.update_binders

    def with_early_data(hello, *arguments):
        # The last extension must be the one that names the session.
        hello.extensions.insert(-1, TLSExtension(extType=ExtensionType.early_data).create(bytearray()))
        update_binders(hello, *arguments)

    HandshakeHelpers.update_binders = staticmethod(with_early_data)
    try:
        make = lambda address: EarlyConnection(address, first.session, request("/early"))
        second = connect(address, session=first.session, make=make)
        assert second.get()[0] == 200, "the first answer is to the early request"
        second.assert_silence(0.3)
        print("skipped")
    except (TLSRemoteAlert, TLSAbruptCloseError) as error:
        print(f"refused: {error!r}")


def plain_request(address):
    """A request without TLS to a TLS listener gets an answer that a person can read, however it arrives."""
    for cut in [None, lambda data: [data[:1], data[1:]], lambda data: [data[:30], data[30:]]]:
        wire = Wire(address)
        wire.cut, wire.pause_secs = cut, 0.05
        wire.sendall(request())
        answer = bytes(wire.rest())
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 "), answer
        assert b"https" in body.lower() or b"tls" in body.lower(), answer


def hello_to_plain_listener(address):
    """A ClientHello to a plain listener is a bad request."""
    connection = Connection(address)
    try:
        connection.handshakeClientCert(serverName="localhost")
    except Exception as error:
        print(f"{error!r}")
    assert connection.wire.received.startswith(b"HTTP/1.1 400 "), connection.wire.received


run(globals())
