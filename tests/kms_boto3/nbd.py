"""The little of NBD that reading and writing an export takes."""

import socket
import struct

OPT_GO, REP_ACK, REP_INFO = 7, 1, 3
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3


class Export:
    """The default export of a server on a Unix socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(path)
        assert self.take(16) == b"NBDMAGICIHAVEOPT"
        self.take(2)
        # Fixed newstyle, without the zeroes.
        self.socket.sendall(struct.pack(">I", 3))
        data = struct.pack(">IH", 0, 0)
        self.socket.sendall(b"IHAVEOPT" + struct.pack(">II", OPT_GO, len(data)) + data)
        while True:
            _magic, _option, reply, length = struct.unpack(">QIII", self.take(20))
            self.take(length)
            if reply == REP_ACK:
                return
            assert reply == REP_INFO, hex(reply)

    def take(self, length):
        data = b""
        while len(data) < length:
            more = self.socket.recv(length - len(data))
            assert more, "the server is gone"
            data += more
        return data

    def request(self, kind, offset=0, length=0, data=b""):
        header = struct.pack(">IHHQQI", 0x25609513, 0, kind, 7, offset, length)
        self.socket.sendall(header + data)
        if kind == DISCONNECT:
            return b""
        magic, error, handle = struct.unpack(">IIQ", self.take(16))
        assert (magic, error, handle) == (0x67446698, 0, 7), (hex(magic), error, handle)
        return self.take(length) if kind == READ else b""

    def write(self, offset, data):
        self.request(WRITE, offset, len(data), data)
        self.request(FLUSH)

    def read(self, offset, length):
        return self.request(READ, offset, length)

    def close(self):
        self.request(DISCONNECT)
        self.socket.close()
