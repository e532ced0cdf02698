"""AWS's command line: a key's life, and somebody in a role."""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from support import *


class CommandLine(KmsTest):
    def aws(self, *arguments, credentials=None):
        """What a command says, as JSON; nothing for commands that say nothing."""
        environment = {
            "PATH": os.environ["PATH"],
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_SHARED_CREDENTIALS_FILE": str(DATA / "credentials"),
            "PYTHONUTF8": "1",
        } | (credentials or {})
        aws = pathlib.Path(sys.executable).with_name("aws")
        done = subprocess.run(
            [sys.executable, str(aws), "--endpoint-url", endpoint(), "--output", "json",
             *arguments],
            env=environment, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def test_a_keys_life(self):
        made = self.aws("kms", "create-key", "--description", "made by the command line")
        key = made["KeyMetadata"]["Arn"]
        self.assertEqual(made["KeyMetadata"]["Description"], "made by the command line")
        name = alias_name("cli")
        self.assertIsNone(
            self.aws("kms", "create-alias", "--alias-name", name, "--target-key-id", key))
        with tempfile.TemporaryDirectory() as directory:
            plain, sealed = (pathlib.Path(directory, n) for n in ("plain", "sealed"))
            plain.write_bytes(b"\0 a plaintext \xff")
            context = ("--encryption-context", "aws:ebs:id=vol-00fa4e00fa4e00fa4,other=pair")
            answer = self.aws(
                "kms", "encrypt", "--key-id", name, "--plaintext", f"fileb://{plain}", *context)
            self.assertEqual(answer["KeyId"], key)
            sealed.write_bytes(base64.b64decode(answer["CiphertextBlob"]))
            opened = self.aws("kms", "decrypt", "--ciphertext-blob", f"fileb://{sealed}", *context)
            self.assertEqual(base64.b64decode(opened["Plaintext"]), plain.read_bytes())
        grant = self.aws(
            "kms", "create-grant", "--key-id", key, "--grantee-principal", user("grantee"),
            "--operations", "Decrypt", "--constraints", "EncryptionContextSubset={a=1}")
        listed = self.aws("kms", "list-grants", "--key-id", key)["Grants"]
        self.assertEqual([entry["GrantId"] for entry in listed], [grant["GrantId"]])
        self.assertEqual(
            listed[0]["Constraints"], {"EncryptionContextSubset": {"a": "1"}})

    def test_somebody_in_a_role(self):
        me = self.aws("sts", "get-caller-identity")
        self.assertEqual((me["Account"], me["Arn"]), (OWN, root_of(OWN)))
        key, secret = credentials("admin")
        admin = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        assumed = self.aws(
            "sts", "assume-role", "--role-arn", f"arn:aws:iam::{OWN}:role/operator",
            "--role-session-name", "tester", credentials=admin)
        arn = f"arn:aws:sts::{OWN}:assumed-role/operator/tester"
        self.assertEqual(assumed["AssumedRoleUser"]["Arn"], arn)
        given = assumed["Credentials"]
        session = {
            "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
            "AWS_SESSION_TOKEN": given["SessionToken"],
        }
        me = self.aws("sts", "get-caller-identity", credentials=session)
        self.assertEqual(me["Arn"], arn)
        answer = self.aws(
            "kms", "encrypt", "--key-id", self.key(), "--plaintext", "text", credentials=session)
        self.assertIn("CiphertextBlob", answer)
        # What the role does not have, its session does not.
        with self.assertRaisesRegex(AssertionError, "AccessDenied"):
            self.aws("kms", "create-key", credentials=session)
