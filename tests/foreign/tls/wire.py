"""What the scripts of this folder share: connections of tlslite-ng that show the bytes on the wire.

Each script is run as `python3 SCRIPT.py CASE ADDRESS [ARGUMENT]...`, where CASE is one of its functions, which
gets the address and the arguments. A script fails with the traceback of an assertion.
"""

import select
import socket
import sys
import time

import tlslite.recordlayer
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.constants import ContentType
from tlslite.errors import TLSRemoteAlert

PATIENCE_SECS = 20
TLS12, TLS13 = (3, 3), (3, 4)
ALERT, HANDSHAKE, APPLICATION_DATA = 21, 22, 23


class FastAesGcm:
    """AES-GCM in place of tlslite-ng's own, which is written in Python and takes 50 ms for a large record."""

    isBlockCipher, isAEAD = False, True
    nonceLength, tagLength = 12, 16
    implementation = "cryptography"

    def __init__(self, key, implementations=None):
        self.name = f"aes{8 * len(key)}gcm"
        self.key = key
        self.cipher = AESGCM(bytes(key))

    def seal(self, nonce, plaintext, data):
        return bytearray(self.cipher.encrypt(bytes(nonce), bytes(plaintext), bytes(data)))

    def open(self, nonce, ciphertext, data):
        try:
            return bytearray(self.cipher.decrypt(bytes(nonce), bytes(ciphertext), bytes(data)))
        except InvalidTag:
            return None


tlslite.recordlayer.createAESGCM = FastAesGcm


class Wire:
    """A socket that keeps what it has received, and may cut what it sends into pieces."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), PATIENCE_SECS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = bytearray()
        self.sent = bytearray()
        # Given to the next reader before anything from the socket.
        self.given_back = bytearray()
        # From bytes to the pieces that are sent one by one, or None.
        self.cut = None
        self.pause_secs = 0.001

    def send(self, data):
        self.sent += data
        for piece in self.cut(data) if self.cut else [data]:
            self.socket.sendall(piece)
            if self.cut:
                time.sleep(self.pause_secs)
        return len(data)

    def sendall(self, data):
        self.send(data)

    def recv(self, size):
        if self.given_back:
            data, self.given_back = self.given_back[:size], self.given_back[size:]
            return data
        data = self.socket.recv(size)
        self.received += data
        return data

    def __getattr__(self, name):
        return getattr(self.socket, name)

    def is_readable(self, secs):
        return bool(select.select([self.socket], [], [], secs)[0])

    def rest(self):
        """All bytes up to the server's FIN."""
        rest = bytearray()
        while data := self.recv(65536):
            rest += data
        return rest


class Connection(TLSConnection):
    """A connection whose answers are read one at a time."""

    def __init__(self, address):
        self.wire = Wire(address)
        self.key_updates = 0
        super().__init__(self.wire)

    def _handle_keyupdate_request(self, request):
        self.key_updates += 1
        return super()._handle_keyupdate_request(request)

    def tell(self, message):
        """Sends one message, in a record of its own."""
        for _ in self._sendMsg(message):
            pass

    def update_key(self, is_answer_wanted):
        """Sends a KeyUpdate (RFC 8446 section 4.6.3)."""
        for _ in self.send_keyupdate_request(1 if is_answer_wanted else 0):
            pass

    def get(self, target="/", fields=""):
        self.write(request(target, fields))
        return self.answer()

    def answer(self):
        """Reads one answer: its status and its body."""
        head = b""
        while b"\r\n\r\n" not in head:
            more = self.read()
            assert more, f"the connection ends after {head}"
            head += more
        head, _, rest = head.partition(b"\r\n\r\n")
        self.unread(rest)
        lines = head.decode().lower().split("\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith("content-length:"))
        return int(lines[0].split()[1]), self.read(length, length) if length else b""

    def assert_nothing_unread(self):
        unread = len(self.sock._read_buffer) + len(self._readBuffer)
        assert unread == 0, f"{unread} bytes came after the answer"

    def assert_silence(self, secs):
        """Checks that the server sends no byte for this time, nor has sent one after the last answer."""
        self.assert_nothing_unread()
        if self.wire.is_readable(secs):
            raise AssertionError(f"bytes for an idle client: {bytes(self.wire.socket.recv(65536)).hex()}")

    def expect_end(self, secs=PATIENCE_SECS):
        """Expects a close_notify alert and the FIN right behind it, within this time, and nothing else."""
        assert not self._readBuffer, "more content"
        # What came together with the answer.
        rest, self.sock._read_buffer = self.sock._read_buffer, bytearray()
        assert rest or self.wire.is_readable(secs), f"no end within {secs} s"
        start = time.monotonic()
        rest += self.wire.rest()
        between_secs = time.monotonic() - start
        assert between_secs < 0.5, f"the FIN came {between_secs} s after the alert"
        kinds = [kind for kind, _ in records(rest)]
        assert kinds in ([ALERT], [APPLICATION_DATA]), f"not one alert: {bytes(rest).hex()}"
        # An alert other than close_notify, and an end without one, raise an exception.
        self.wire.given_back = rest
        assert self.read() == b""


def connect(address, version=TLS13, name="localhost", session=None, prepare=None, make=Connection):
    """A connection after its handshake. `make` makes it from the address; `prepare` gets it before its
    handshake, with the settings."""
    settings = HandshakeSettings()
    settings.minVersion = settings.maxVersion = version
    settings.cipherNames = ["aes128gcm"]
    settings.keyShares = ["x25519"]
    connection = make(address)
    if prepare:
        prepare(connection, settings)
    connection.handshakeClientCert(settings=settings, serverName=name, session=session, alpn=[b"http/1.1"])
    assert connection.version == version, connection.version
    assert connection.session.appProto == b"http/1.1", connection.session.appProto
    return connection


def expect_refusal(connection, *descriptions):
    """Expects one of these alerts within two seconds."""
    assert connection.wire.is_readable(2), "the server waits"
    try:
        for _ in connection._getMsg(ContentType.application_data):
            pass
    except TLSRemoteAlert as alert:
        assert alert.description in descriptions, alert
    else:
        raise AssertionError("no alert")


def request(target="/", fields="", host="localhost"):
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode()


def records(raw):
    """The type and the length of each record in these bytes."""
    found = []
    while raw:
        assert len(raw) >= 5, f"half a header: {bytes(raw).hex()}"
        length = int.from_bytes(raw[3:5], "big")
        assert len(raw) >= 5 + length, f"half a record: {bytes(raw).hex()}"
        found.append((raw[0], length))
        raw = raw[5 + length :]
    return found


def version_of(text):
    return {"1.2": TLS12, "1.3": TLS13}[text]


def run(cases):
    """Runs the case that the command line names."""
    name, *arguments = sys.argv[1:]
    cases[name](*arguments)
