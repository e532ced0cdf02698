"""Case 59: a volume that is attached while its key becomes unusable."""

import os
import pathlib
import signal
import subprocess
import tempfile

from nbd import Export
from support import *


class Volume(KmsTest):
    def setUp(self):
        super().setUp()
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.path = pathlib.Path(self.directory.name)

    def sealvol(self, *arguments):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SEALVOL_")}
        return subprocess.Popen(
            [BINARY, "--data", str(DATA), *arguments], env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def finished(self, *arguments):
        process = self.sealvol(*arguments)
        out, err = process.communicate(timeout=30)
        return process.returncode, out + err

    def attach(self, number):
        socket = self.path / f"socket-{number}"
        process = self.sealvol(
            "volume", "serve", str(self.path / "volume"), "--nbd", f"unix:{socket}")
        self.addCleanup(lambda: (process.kill(), process.communicate()))
        for line in process.stdout:
            if line.startswith("ready:"):
                return process, Export(str(socket))
        raise AssertionError(process.stderr.read())

    def detach(self, process, export):
        export.close()
        process.send_signal(signal.SIGTERM)
        _out, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 0, err)

    def case_59_io_goes_on_and_reattaching_fails_while_the_key_is_unusable(self):
        key, name = self.key(), alias_name("volume")
        self.kms.create_alias(AliasName=name, TargetKeyId=key)
        status, said = self.finished(
            "volume", "create", str(self.path / "volume"), "--size", "16MiB", "--key", name)
        self.assertEqual(status, 0, said)
        process, export = self.attach(1)
        export.write(0, b"a" * 4096)
        self.kms.disable_key(KeyId=key)
        export.write(4096, b"b" * 4096)
        self.assertEqual(export.read(0, 8192), b"a" * 4096 + b"b" * 4096)
        self.kms.schedule_key_deletion(KeyId=key)
        export.write(8192, b"c" * 4096)
        self.detach(process, export)

        serve = ("volume", "serve", str(self.path / "volume"), "--nbd",
                 f"unix:{self.path / 'socket'}")
        status, said = self.finished(*serve)
        self.assertNotEqual(status, 0)
        self.assertIn("pending deletion", said)
        self.kms.cancel_key_deletion(KeyId=key)
        status, said = self.finished(*serve)
        self.assertNotEqual(status, 0)
        self.assertIn("disabled", said)

        self.kms.enable_key(KeyId=key)
        process, export = self.attach(2)
        self.assertEqual(export.read(0, 12288), b"a" * 4096 + b"b" * 4096 + b"c" * 4096)
        self.detach(process, export)
